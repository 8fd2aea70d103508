"""Breaks of how turns wait, of what tells it, and of when nothing more is tried."""

from typing import Final

from tests.mutations.of_turns import DELIVERY, JOURNAL, LEASES, MAILBOX, STORE, TURNS
from tests.mutations.runner import Break

WAITS: Final = (
    Break(
        "tries of a message follow one another at once",
        DELIVERY,
        "BACKOFF_S = (0.5, 1.0, 2.0)",
        "BACKOFF_S = (0.0, 0.0, 0.0)",
        "tests/actors/turns/test_waits.py::test_tries_of_a_chunk_stand_apart",
    ),
    Break(
        "a reply is tried for ever",
        JOURNAL,
        "if request.reason and before.tried_late:",
        "if False:",
        "tests/actors/turns/test_waits.py::test_a_restart_begins_no_new_day",
    ),
    Break(
        "each failed try begins a new day",
        TURNS,
        "return turn if turn.unsent_since else msgspec",
        "return msgspec",
        "tests/actors/turns/test_waits.py::test_a_restart_begins_no_new_day",
    ),
    Break(
        "a chunk that went through leaves the next one no time",
        TURNS,
        '    if state in ("planned", "sending"):\n',
        "    if True:\n",
        "tests/actors/turns/test_waits.py::test_each_chunk_has_a_day_of_its_own",
    ),
    Break(
        "the first failure after an outage is the end",
        JOURNAL,
        "if request.reason and before.tried_late:",
        "if request.reason and turn.tried_late:",
        "tests/actors/turns/test_waits.py::test_a_wait_that_is_told_after_an_outage_is_kept",
    ),
    Break(
        "a turn that is handed back forgets how many owners it took down",
        STORE,
        "attempt = box.attempts.get(lease.update_key, 0) if box is not None else 0",
        "attempt = 0",
        "tests/actors/turns/test_leases.py::test_a_handed_back_turn_keeps_the_count_of_its_owners[True-attempts0]",
    ),
    Break(
        "a turn is given up before it was tried again",
        JOURNAL,
        "        if request.reason and before",
        "        if before",
        "tests/actors/turns/test_waits.py::test_what_was_not_tried_is_not_given_up",
    ),
    Break(
        "a stored wait is not read",
        MAILBOX,
        "            box.wait(stored.wait_s, now)\n",
        "",
        "tests/actors/turns/test_waits.py::test_a_restart_waits_as_telegram_told",
    ),
    Break(
        "a wait is written only when the turn is handed back",
        JOURNAL,
        "        box.wait(request.retry_after_s, self._store.now())",
        "        pass",
        "tests/actors/turns/test_waits.py::test_a_kill_before_the_turn_was_handed_back_waits_as_well",
    ),
    Break(
        "a turn that is handed back forgets its wait",
        STORE,
        "await self._store.write_lease(chat, nobody if wait_s or attempt else None)",
        "await self._store.write_lease(chat, None)",
        "tests/actors/turns/test_waits.py::test_a_second_owner_waits_as_the_first_was_told",
    ),
    Break(
        "a wait has no bound",
        MAILBOX,
        "now + min(max(seconds, 0.0), MOST_WAIT_S)",
        "now + seconds",
        "tests/actors/turns/test_waits.py::test_no_wait_is_longer_than_a_day",
    ),
    Break(
        "a turn that is given up says nothing",
        LEASES,
        "gave_up=gave_up,",
        'gave_up="",',
        "tests/actors/turns/test_waits.py::test_a_turn_that_was_given_up_tells_the_user_once",
    ),
    Break(
        "a notice passes for an answer",
        TURNS,
        '    if turn.gave_up:\n        return "dead_lettered", ""\n',
        "",
        "tests/actors/turns/test_waits.py::test_a_turn_that_was_given_up_tells_the_user_once",
    ),
    Break(
        "tries come as often after hours",
        DELIVERY,
        "min(max(RETRY_LATER_S, LATER_SHARE * unsent_s), RETRY_LATEST_S)",
        "RETRY_LATER_S",
        "tests/actors/turns/test_waits.py::test_a_chat_to_which_nothing_can_be_sent_goes_on_after_a_day",
    ),
    Break(
        "a proxy that waited in vain means that Telegram refused the message",
        "app/telegram/answers.py",
        "case status if status < 300 or status >= 500:",
        "case status if status < 300:",
        "tests/app/telegram/test_client.py::test_each_answer_becomes_the_error_that_says_what_to_do",
    ),
    Break(
        "what a proxy refuses is refused by Telegram",
        "app/telegram/answers.py",
        "and may be gone soon\n            return NotSent(detail, reply.retry_after_s)",
        "and may be gone soon\n            return CallRefused(detail)",
        "tests/app/telegram/test_client.py::test_each_answer_becomes_the_error_that_says_what_to_do",
    ),
    Break(
        "a proxy that reached no server leaves a doubt",
        "app/telegram/answers.py",
        "case 429 | 500 | 501 | 502 | 503:",
        "case 429 | 500 | 503:",
        "tests/app/telegram/test_client.py::test_each_answer_becomes_the_error_that_says_what_to_do",
    ),
)

DOCTOR: Final = (
    Break(
        "doctor takes a wait for a stuck turn",
        "app/doctor.py",
        "(_is_worked(chat) or _is_told_to_wait(chat))",
        "_is_worked(chat)",
        "tests/app/doctor/test_waiting.py::test_a_turn_that_waits_as_telegram_told_is_no_fault[sqlite]",
    ),
    Break(
        "doctor waits for ever with a turn that waited",
        "app/doctor.py",
        "lease.wait_s > -RUNNING_S",
        "True",
        "tests/app/doctor/test_waiting.py::test_a_wait_that_is_over_long_ago_is_stuck[sqlite]",
    ),
    Break(
        "doctor believes any lease of a chat",
        "app/doctor.py",
        "chat.lease.update_key == head else None",
        "head else None",
        "tests/app/doctor/test_waiting.py::test_a_lease_of_another_turn_covers_nothing[sqlite]",
    ),
    Break(
        "doctor believes the operator's clock",
        "app/doctor.py",
        "now = await database.now()  #",
        "now = __import__('time').time()  #",
        "tests/app/doctor/test_waiting.py::test_what_is_old_is_old_by_the_stores_clock",
    ),
    Break(
        "doctor takes history for trouble",
        "app/doctor_webhook.py",
        " and age_s < RECENT_S",
        "",
        "tests/app/doctor/test_surroundings.py::test_an_error_is_trouble_while_it_keeps_updates_back",
    ),
    Break(
        "doctor takes an error for trouble that keeps nothing back",
        "app/doctor_webhook.py",
        " and known.pending_update_count",
        "",
        "tests/app/doctor/test_surroundings.py::test_an_error_is_trouble_while_it_keeps_updates_back",
    ),
    Break(
        "doctor asks for no reason",
        "app/doctor_records.py",
        'else "ended without a reason"',
        'else ""',
        "tests/app/doctor/test_contradictions.py::test_an_end_without_its_reason_is_a_finding[sqlite-ignored]",
    ),
)
