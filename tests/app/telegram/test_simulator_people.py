"""The people's side without a server: what the bot is told, in which queue, and for how long."""

import json
from typing import Any

import pytest

from app.telegram.simulator_checks import ApiError
from app.telegram.simulator_delivery import Deliver, Outcome
from app.telegram.simulator_methods import Webhook
from app.telegram.simulator_people import Button, People
from app.telegram.simulator_ports import SeededChance
from app.telegram.simulator_world import ChatType
from tests.app.telegram.hand_clock import HandClock

KINDS: tuple[ChatType, ...] = ("private", "private", "group", "group")
BOT = {"id": 1, "is_bot": True, "first_name": "Bot", "username": "the_bot"}


class Side:
    """People, and a bot that notes update ids and refuses those named in `refused` with a wish to wait 5 s."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.people = People(BOT, self.connect, self.clock, SeededChance(1))
        self.refused: set[int] = set()
        self.updates: list[dict[str, Any]] = []

    def connect(self, webhook: Webhook) -> Deliver:
        return self.deliver

    async def deliver(self, body: bytes) -> Outcome:
        self.updates.append(json.loads(body))
        if self.updates[-1]["update_id"] in self.refused:
            return Outcome(False, "busy", 5.0)
        return Outcome(True)

    async def run(self, seconds: float) -> None:
        """Deliver what waits, and let time pass."""
        await self.people.api.call("setWebhook", {"url": "http://127.0.0.1:1/"})
        await self.clock.run(seconds)
        await self.people.updates.disconnect()

    def ids(self) -> list[int]:
        return [each["update_id"] for each in self.updates]


@pytest.fixture
def side() -> Side:
    """Nobody has said anything yet."""
    return Side()


async def test_messages_of_a_chat_wait_for_one_another(side: Side) -> None:
    """While the first message is refused, the chat's second is held back and another chat's is not."""
    side.refused = {1}
    for chat in (7, 7, 8):
        side.people.say(chat, "hello")
    await side.run(1)
    assert side.ids() == [1, 3]


async def test_presses_queue_by_user_and_not_by_chat(side: Side) -> None:
    """A user's presses in two chats wait for one another, and for no message."""
    side.people.say(7, "hello")
    side.people.say(-8, "hello", user=7, chat_type="group")
    message = await side.people.api.call("sendMessage", {"chat_id": 7, "text": "x"})
    other = await side.people.api.call("sendMessage", {"chat_id": -8, "text": "x"})
    assert isinstance(message, dict)
    assert isinstance(other, dict)
    side.people.press(Button(7, message["message_id"], "a", "a"), user=7)
    side.people.press(Button(-8, other["message_id"], "b", "b"), user=7)
    side.refused = {1, 2, 3}
    await side.run(1)
    assert sorted(side.ids()) == [1, 2, 3]


async def test_presses_expire_after_150_seconds_and_messages_after_a_day(side: Side) -> None:
    """Telegram drops a query long before a message, and does not take an answer to it any more."""
    side.people.say(7, "hello")
    message = await side.people.api.call("sendMessage", {"chat_id": 7, "text": "x"})
    assert isinstance(message, dict)
    side.people.press(Button(7, message["message_id"], "a", "a"))
    query = json.loads(side.people.updates.peek(2)[1])["callback_query"]["id"]
    side.clock.now = 149.0
    assert await side.people.api.call("answerCallbackQuery", {"callback_query_id": query}) is True
    side.clock.now = 151.0
    await side.run(1)
    assert side.ids() == [1]
    with pytest.raises(ApiError, match="query is too old"):
        await side.people.api.call("answerCallbackQuery", {"callback_query_id": query})


async def test_a_new_chat_gets_the_next_free_id(side: Side) -> None:
    """Chats opened without an id do not meet; groups have negative ids."""
    opened = [side.people.open_chat(kind).chat_id for kind in KINDS]
    assert opened == [1001, 1002, -1001, -1002]


@pytest.mark.parametrize("message", [2, 99])
async def test_only_own_messages_can_be_edited(side: Side, message: int) -> None:
    """A person can't edit the bot's message, nor one that is not there."""
    side.people.say(7, "hello")
    await side.people.api.call("sendMessage", {"chat_id": 7, "text": "x"})
    with pytest.raises(KeyError):
        side.people.edit(7, message, "edited")
    assert side.people.updates.counts.updates == 1


async def test_only_buttons_of_a_message_that_is_there_can_be_pressed(side: Side) -> None:
    """Pressing below an absent message is an error of the test that does it."""
    side.people.say(7, "hello")
    with pytest.raises(KeyError):
        side.people.press(Button(7, 99, "a", "a"))
