"""Breaks of what a shard and an agent do with a store: dedupe, compare-and-set, outbox, lease."""

from typing import Final

from tests.mutations.runner import Break

INBOX: Final = "actors/inbox.py"
JOURNAL: Final = "actors/turn_journal.py"
AGENT: Final = "actors/chat_agent.py"
LEASES: Final = "actors/turn_leases.py"
STORE: Final = "actors/turn_store.py"
TURNS: Final = "actors/turns.py"
MAILBOX: Final = "actors/mailbox.py"
SHARD: Final = "actors/session_cache.py"
SESSIONS: Final = "actors/sessions.py"
DELIVERY: Final = "actors/delivery.py"

DEDUPE: Final = (
    Break(
        "a duplicate that another container accepted stays unknown here",
        STORE,
        "self.mailboxes.doubt(record.chat)  # another container accepted it, and its turn may be due",
        "pass",
        "tests/actors/turns/test_accept.py::test_a_duplicate_that_is_not_known_here_is_looked_for",
    ),
    Break(
        "an append without an answer leaves the mailbox unsuspected",
        STORE,
        "self.mailboxes.doubt(record.chat)  # it may have happened",
        "pass",
        "tests/actors/turns/test_two_owners.py::test_an_append_whose_reply_was_lost_makes_the_memory_suspect",
    ),
    Break(
        "a group without an answer leaves the mailboxes unsuspected",
        STORE,
        "            for record in records:\n                self.mailboxes.doubt(record.chat)\n            raise",
        "            raise",
        "tests/actors/turns/test_accept_groups.py::test_a_group_whose_reply_was_lost_makes_the_memory_suspect",
    ),
    Break(
        "an update of a group without an answer leaves its mailbox unsuspected",
        STORE,
        "            if isinstance(outcome, StoreError):\n                self.mailboxes.doubt(record.chat)",
        "            if isinstance(outcome, StoreError):\n                pass",
        "tests/actors/turns/test_accept_groups.py::test_an_update_that_the_store_does_not_take_spoils_no_other",
    ),
    Break(
        "the second of two equal updates of a group is refused by a full mailbox",
        INBOX,
        "if waiting < self._mailbox_limit or record.key in arriving:",
        "if waiting < self._mailbox_limit:",
        "tests/actors/turns/test_accept_groups.py::test_a_mailbox_that_is_full_in_the_middle_of_a_group",
    ),
    Break(
        "a group overtakes who waits for the chat",
        "actors/gates.py",
        "if place is None or place.done())",
        ")",
        "tests/actors/turns/test_accept_groups.py::test_a_chat_in_use_delays_the_writing_of_no_other",
    ),
    Break(
        "what one update brings upon its group hits all",
        "app/accepting.py",
        "if isinstance(reply, REFUSED_WHOLE):",
        "if False:",
        "tests/app/test_accepting.py::test_what_one_update_brings_upon_its_group_is_its_own",
    ),
    Break(
        "a commit that is repeated after the turn's end is refused",
        JOURNAL,
        'if self._store.mailboxes.has_ended(request.lease, f"{request.bot}:{request.update}"):',
        "if False:",
        "tests/actors/turns/test_commits.py::test_the_same_requests_twice_do_nothing_twice",
    ),
    Break(
        "a delivery that is repeated is a step that the chunk does not have",
        JOURNAL,
        "if _already(turn, request):",
        "if False:",
        "tests/actors/turns/test_commits.py::test_the_same_requests_twice_do_nothing_twice",
    ),
    Break(
        "a delivery that is repeated after the turn's end is refused",
        JOURNAL,
        "if record is None and self._store.mailboxes.has_ended(request.lease, key):",
        "if False:",
        "tests/actors/turns/test_commits.py::test_the_same_requests_twice_do_nothing_twice",
    ),
)

COMPARE_AND_SET: Final = (
    Break(
        "another owner's end of a turn is taken for one's own",
        STORE,
        'operation=f"{turn.lease}:{record.key}:end:{record.version}")',
        'operation=f"{record.key}:end:{record.version}")',
        "tests/actors/turns/test_two_owners.py::test_two_owners_that_end_a_turn_are_not_taken_for_one",
    ),
    Break(
        "a commit over a session that had moved does not read it again",
        JOURNAL,
        "self._store.sessions.unlearn(request.chat)",
        "pass",
        "tests/actors/turns/test_commits.py::test_a_moved_session_is_read_and_the_turn_applied_to_it",
    ),
    Break(
        "whose write finds the turn committed serves a session of its own making",
        JOURNAL,
        "if written.repeated:",
        "if False:",
        "tests/actors/turns/test_two_owners.py::test_a_commit_that_both_owners_got_leaves_one_session",
    ),
    Break(
        "a session whose commit had no answer is served on",
        STORE,
        "self.sessions.unlearn(record.chat)",
        "pass",
        "tests/actors/turns/test_commits.py::test_a_failed_write_is_never_visible",
    ),
    Break(
        "a session whose write had no answer is served on",
        SHARD,
        "self.sessions.unlearn(record.chat)  # it may have happened: the next reader asks the store",
        "pass",
        "tests/actors/turns/test_commits.py::test_after_a_failed_session_write_the_store_is_asked",
    ),
    Break(
        "a session that another owner wrote is served on",
        SESSIONS,
        "if self._revisions.get(chat) == revision:",
        "if True:",
        "tests/actors/turns/test_two_owners.py::test_an_answer_sees_what_the_other_owner_answered",
    ),
)

OUTBOX: Final = (
    Break(
        "a chunk that was cut while being sent is sent again",
        LEASES,
        "if turn.lease in box.unsent:",
        "if True:",
        "tests/actors/turns/test_takeovers.py::test_an_owner_that_was_slow_cannot_go_on_sending",
    ),
    Break(
        "a lease whose claim failed is given again, and still taken for unsent",
        LEASES,
        "for each in box.unsent if each != lease.id",
        "for each in box.unsent",
        "tests/actors/turns/test_agent_stopping.py::test_a_reply_claimed_twice_and_out_is_not_sent_again",
    ),
    Break(
        "a resumption that fails again and again forgets under which lease nothing was sent",
        LEASES,
        "box.note_unsent(turn.lease)",
        "pass",
        "tests/actors/turns/test_leases.py::test_what_was_surely_not_sent_stays_so_when_a_resumption_fails",
    ),
    Break(
        "a fresh claim that fails late says that nothing was sent",
        LEASES,
        'if head.state == "committed":  # a fresh',
        "if True:  # a fresh",
        "tests/actors/turns/test_leases.py"
        "::test_a_claim_that_fails_behind_its_repetition_says_nothing_of_what_was_sent",
    ),
    Break(
        "an owner that may have sent something says that it did not",
        AGENT,
        "unsent=turn.lease not in self._delivery.unrecorded",
        "unsent=True",
        "tests/actors/turns/test_agent_stopping.py::test_stop_with_a_message_out_that_is_not_recorded",
    ),
    Break(
        "an owner forgets that a message went out before that is recorded",
        DELIVERY,
        'if sent.state not in ("sent", "unknown"):',
        'if sent.state != "unknown":',
        "tests/actors/turns/test_agent_stopping.py::test_stop_with_a_message_out_that_is_not_recorded",
    ),
    Break(
        "an owner doubts what Telegram refused until that is recorded",
        DELIVERY,
        'if sent.state not in ("sent", "unknown"):',
        "if False:",
        "tests/actors/turns/test_agent_stopping.py"
        "::test_a_reply_cut_between_two_tries_is_sent_by_the_next_owner",
    ),
    Break(
        "an owner that sent nothing does not say so",
        AGENT,
        "unsent=turn.lease not in self._delivery.unrecorded",
        "unsent=False",
        "tests/actors/turns/test_agent_stopping.py::test_a_commit_whose_answer_never_came_is_sent_by_the_next_owner",
    ),
    Break(
        "a chunk is sent before it is marked as being sent",
        TURNS,
        'return with_chunk(turn, index, "sending"), index',
        "return turn, index",
        "tests/actors/turns/test_commits.py::test_each_delivery_marks_the_next_chunk_in_the_same_write",
    ),
    Break(
        "a turn whose fate is not known ends as answered",
        TURNS,
        'if chunk.state == "unknown":\n            return "unknown", chunk.reason',
        'if chunk.state == "unknown":\n            return "answered", ""',
        "tests/actors/turns/test_deliveries.py::test_what_may_have_been_sent_is_never_sent_again",
    ),
    Break(
        "a reply ends with its first chunk",
        JOURNAL,
        "turn, following = turns.begin_next(turn)\n",
        "following = -1\n",
        "tests/actors/turns/test_deliveries.py::test_chunks_arrive_in_order",
    ),
    Break(
        "who repeats a commit is told to send from an outdated memory",
        JOURNAL,
        "await self._store.confirm(box, record)\n            return TurnCommitted(",
        "return TurnCommitted(",
        "tests/actors/turns/test_commits.py::test_an_outdated_memory_tells_nobody_to_send_again",
    ),
    Break(
        "a message without an answer is sent again",
        DELIVERY,
        'return Sent(state="unknown", reason=str(error) or "no answer")',
        'return Sent(state="planned", reason=str(error) or "no answer")',
        "tests/actors/turns/test_deliveries.py::test_what_may_have_been_sent_is_never_sent_again",
    ),
    Break(
        "a message that was surely not sent is given up",
        DELIVERY,
        'return Sent(state="planned", reason=str(error), retry_after_s=retry_after_s)',
        'return Sent(state="failed", reason=str(error))',
        "tests/actors/turns/test_deliveries.py::test_what_was_surely_not_sent_is_sent_again",
    ),
    Break(
        "a message is begun that outlasts the end of the container",
        DELIVERY,
        "LEAST_S = 5.0",
        "LEAST_S = 0.0",
        "tests/actors/turns/test_agent_stopping.py::test_stop_begins_no_message_that_could_outlast_it",
    ),
    Break(
        "a message that gets no answer is cut by the end of the container",
        DELIVERY,
        "asyncio.timeout(min(SEND_S, self._left_s()))",
        "asyncio.timeout(SEND_S)",
        "tests/actors/turns/test_agent_stopping.py::test_stop_waits_for_no_answer_for_ever",
    ),
    Break(
        "the end of the web side cuts the turns under way",
        "app/web/server.py",
        "    return app\n\n\nclass WebServer",
        "    app.on_cleanup.append(lambda _: parts.background.drain(0.1))\n    return app\n\n\nclass WebServer",
        "tests/app/web/test_server.py::test_the_end_of_the_web_side_cuts_no_turn",
    ),
)

LEASE: Final = (
    Break(
        "a mailbox that an append makes meanwhile is taken for read",
        "actors/mailbox.py",
        "return not self.gates.is_shut(chat)",
        "return True",
        "tests/actors/turns/test_two_owners.py"
        "::test_a_mailbox_that_an_append_makes_meanwhile_is_not_taken_for_read",
    ),
    Break(
        "a reading clears a doubt that came after it began",
        "actors/mailbox.py",
        "box.doubts != doubts",
        "False",
        "tests/actors/turns/test_two_owners.py::test_a_reading_clears_no_doubt_that_came_after_it_began",
    ),
    Break(
        "whoever commits has the turn",
        LEASES,
        "return box.living_lease(self._store.now()) is None and self.adopt(box, lease, update)",
        "return self.adopt(box, lease, update)",
        "tests/actors/turns/test_takeovers.py::test_an_unknown_lease_is_not_adopted_beside_a_living_one",
    ),
    Break(
        "a lease never runs out",
        MAILBOX,
        "if self.lease is not None and now < self.lease.expires_at else None",
        "if self.lease is not None else None",
        "tests/actors/turns/test_leases.py::test_a_turn_whose_owner_is_silent_is_free_after_15_s",
    ),
    Break(
        "a claim tells no other container",
        LEASES,
        "self._store.write_lease(head.chat, box, lease)",
        "pass",
        "tests/actors/turns/test_takeovers.py::test_a_lease_outlives_the_shard",
    ),
    Break(
        "a heartbeat tells no other container",
        LEASES,
        "self._store.write_lease(request.chat, box, lease)",
        "pass",
        "tests/actors/turns/test_leases.py::test_a_renewed_lease_holds",
    ),
    Break(
        "a turn that is handed back stays leased",
        LEASES,
        "await self._store.give_up_lease(request.chat, box.stored)",
        "pass",
        "tests/actors/turns/test_agent_stopping.py::test_stop_hands_back_what_takes_too_long",
    ),
    Break(
        "who hands back gives up whosever lease is stored",
        LEASES,
        "if box.stored is not None and box.stored.lease == request.lease:\n            self._let_go(box, request)",
        "if box.stored is not None:\n            self._let_go(box, request)",
        "tests/actors/turns/test_two_owners.py::test_a_loser_that_hands_back_does_not_free_the_turn_of_the_winner",
    ),
    Break(
        "the stop of an owner counts as an attempt",
        LEASES,
        "elif box.lease is not None and request.stopping:",
        "elif False:",
        "tests/actors/turns/test_agent_stopping.py::test_an_owner_that_stops_is_no_attempt",
    ),
    Break(
        "a turn is tried for ever",
        LEASES,
        "if lease.attempt > MAX_ATTEMPTS + 1:",
        "if False:",
        "tests/actors/turns/test_leases.py::test_a_turn_that_takes_its_owners_down_is_dead_lettered",
    ),
    Break(
        "a turn is taken over from whoever this memory takes for dead",
        LEASES,
        'box.lease is not None or head.state == "committed" or (key in box.records and key != head.key)',
        "False",
        "tests/actors/turns/test_two_owners.py::test_a_turn_is_not_taken_over_from_an_owner_that_the_store_knows_to_live",
    ),
    Break(
        "a lease of an ended turn decides about the next one",
        MAILBOX,
        "stored = None  # it was written late, after its turn had ended",
        "pass",
        "tests/actors/test_mailbox.py::test_a_lease_that_was_written_after_its_turn_had_ended_is_nobodys",
    ),
    Break(
        "a lease is believed after another owner moved the turn on",
        STORE,
        "            box.lease = None\n\n    def _unsure",
        "            pass\n\n    def _unsure",
        "tests/actors/turns/test_two_owners.py::test_who_lost_a_turn_holds_it_up_for_nobody",
    ),
    Break(
        "a sweep looks at the oldest updates only",
        "actors/turn_sweep.py",
        "self._after = page[-1] if len(page) > SWEEP_LIMIT // 2 else None",
        "self._after = None",
        "tests/actors/turns/test_sweeping.py::test_full_mailboxes_that_wait_hide_no_stranded_chat",
    ),
)
