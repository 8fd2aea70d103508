"""Which polled updates wait for one another."""

import msgspec
import pytest

from app.polling import lanes, offset_after
from app.telegram.methods import Polled

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
    assert [[first.body, second.body]] == lanes([first, second])


def test_chats_do_not_wait_for_one_another() -> None:
    """A group's message that waits holds up no other chat, and none of the unreadable ones."""
    waiting, other, odd = polled(1, "/help@thebot"), polled(2, "hi", chat=5), Polled(3, b"{}")
    assert [[waiting.body], [other.body], [odd.body]] == lanes([waiting, other, odd])


def test_ids_that_begin_anew_are_asked_for() -> None:
    """A3: what was fetched is confirmed by the next call; after an empty answer a lower id is not passed over."""
    assert 3 == offset_after([polled(2, "hi"), polled(1, "hi")])
    assert 0 == offset_after([])
