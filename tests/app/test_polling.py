"""Which polled updates wait for one another."""

from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from app.dev import simulated
from app.polling import Polling, Window, lanes
from app.telegram.methods import Polled
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_faults import CallFault
from tests.app.service_kit import REPLY_S, settings
from tests.waiting import until

FULL = 100  # updates that wait in a chat

GROUP = -50
MENTION = {"type": "mention", "offset": 0, "length": 7}


def polled(number: int, text: str, chat: int = GROUP, **more: object) -> Polled:
    """A message in a chat, as `getUpdates` gives it."""
    message = {
        "message_id": number,
        "chat": {"id": chat, "type": "supergroup" if chat < 0 else "private"},
        "from": {"id": 4},
        "text": text,
        **more,
    }
    return Polled(update_id=number, body=msgspec.json.encode({"update_id": number, "message": message}))


@pytest.mark.parametrize(
    "first",
    [
        polled(1, "@thebot hi", entities=[MENTION]),
        polled(1, "/help@thebot"),
        polled(1, "yes", reply_to_message={"message_id": 9, "from": {"id": 123, "is_bot": True}}),
    ],
)
def test_a_group_is_one_lane_before_the_bot_knows_its_name(first: Polled) -> None:
    """I3: who is to wait until `getMe` was answered is not overtaken by what needs no answer to that."""
    second = polled(2, "/help")
    assert [[first, second]] == lanes([first, second])


def test_chats_do_not_wait_for_one_another() -> None:
    """A group's message that waits holds up no other chat, and none of the unreadable ones."""
    waiting, other, odd = polled(1, "/help@thebot"), polled(2, "hi", chat=5), Polled(3, b"{}")
    assert [[waiting], [other], [odd]] == lanes([waiting, other, odd])


def test_ids_that_begin_anew_are_asked_for() -> None:
    """A3: what was fetched is confirmed by the next call; after an empty answer a lower id is not passed over."""
    window = Window()
    window.settle([polled(2, "hi"), polled(1, "hi")], ())
    assert 3 == window.offset
    window.settle([], ())
    assert 0 == window.offset


def test_a_refused_update_is_not_confirmed_and_what_is_durable_behind_it_not_taken_again() -> None:
    """I1: the offset stays at the first that was refused, until that is durable, too."""
    window, fetched = Window(), [polled(number, "hi", chat=number) for number in (7, 8, 9, 10)]
    window.settle(fetched, (8, 10))
    assert 8 == window.offset
    assert [fetched[1], fetched[3]] == window.fresh(fetched[1:])
    window.settle(fetched[1:], (10,))
    assert 10 == window.offset
    window.settle(fetched[3:], ())
    assert 11 == window.offset
    assert fetched == window.fresh(fetched)


async def test_a_full_chat_holds_up_no_other(telegram: TelegramSimulator, tmp_path: Path) -> None:
    """A10: while one chat's mailbox takes no more, what others write later is answered, and nothing of it is lost."""
    telegram.faults.add(
        CallFault(kind="retry_after", method="sendMessage", chat=5, seconds=2),
    )
    polling = Polling(simulated(settings(tmp_path), telegram, telegram.url))
    for number in range(FULL + 20):
        telegram.say(5, f"/help {number}")
    with capture_logs() as logs:
        await polling.start()
        try:
            await until(lambda: [each for each in logs if each["event"] == "poll_held_up"])
            assert not telegram.replies(5)
            telegram.say(6, "/help")
            await telegram.wait_for_reply(6, 1, REPLY_S)
            early = len(telegram.replies(5))
            await telegram.wait_for_reply(5, FULL + 20, REPLY_S)
        finally:
            await polling.stop()
    assert early < 20
    assert FULL + 20 == len(telegram.replies(5))
