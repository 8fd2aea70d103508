"""The people of a simulation: they write, press, edit, block, and all at once, in private chats and in groups."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final

from app.chaos.faults import Faults
from app.chaos.mind import SKILLS
from app.telegram.simulator_faults import DeliveryFault, DeliveryFaultKind
from app.telegram.simulator_people import People
from app.telegram.simulator_world import ChatType
from contracts.base import Value

PAUSE_S: Final = 45.0  # between two things that a chat does, on average
TOGETHER_S: Final = 60.0  # between two moments in which all of them write
FLOOD: Final = 130  # messages at once: more than a mailbox takes
_DELIVERIES: Final[Mapping[str, tuple[DeliveryFaultKind, float, float]]] = {
    "update_duplicate": ("duplicate", 0.0, 0.0),
    "update_at_once": ("duplicate_at_once", 0.0, 0.0),
    "update_held": ("held", 0.5, 20.0),
    "update_answer_lost": ("answer_lost", 0.0, 0.0),
    "update_impatient": ("impatient", 0.05, 1.0),
}
"""Our faults of deliveries as the simulator's, with the bounds of their seconds."""


class Size(Value, frozen=True, kw_only=True):
    """How many there are of everything."""

    people: int = 24
    groups: int = 4
    shards: int = 2
    agents: int = 3
    registries: int = 1
    gateways: int = 2


class Crowd:
    """Does something in every chat now and then, until it is told to go home."""

    def __init__(self, people: People, faults: Faults, dice: random.Random, size: Size) -> None:
        self._people, self._faults, self._dice = people, faults, dice
        self._private = [1_000 + number for number in range(size.people)]
        self._groups = [-1_000 - number for number in range(size.groups)]
        self._supergroups = 0
        self._said = 0
        self._doing: list[Callable[[int], None]] = [
            *[self._talk] * 10,
            *[self._burst] * 2,
            *[self._command] * 4,
            *[self._press] * 2,
            *[self._skill] * 3,
            self._edit,
            self._oddity,
        ]

    async def live(self) -> None:
        """Go on for ever."""
        lives = [self._live(chat) for chat in (*self._private, *self._groups)]
        await asyncio.gather(*lives, self._now_and_then(), self._together())

    async def _live(self, chat: int) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(1.0 / PAUSE_S))
            self._dice.choice(self._doing)(self._moved(chat))

    async def _now_and_then(self) -> None:
        """What is rare: a flood, a bot thrown out and taken back, a group that becomes a supergroup."""
        while True:
            await asyncio.sleep(self._dice.expovariate(1.0 / 300.0))
            chat = self._dice.choice(self._private)
            match self._dice.randrange(4):
                case 0:
                    self._flood(chat)
                case 1 if chat in self._people.world.chats:
                    await self._block(chat)
                case 2:
                    self._migrate(self._dice.choice(self._groups))
                case _:
                    self._say(chat, "/forget")

    async def _together(self) -> None:
        """Have all chats write in the same moment, so that their updates are accepted as one group."""
        while True:
            await asyncio.sleep(self._dice.expovariate(1.0 / TOGETHER_S))
            for chat in (*self._private, *self._groups):
                self._talk(self._moved(chat))

    # ------------------------------------------------------------ what people do

    def _talk(self, chat: int) -> None:
        self._say(chat, f"{self._new()} and what do you think of it?")

    def _burst(self, chat: int) -> None:
        for _ in range(self._dice.randint(2, 8)):
            self._say(chat, f"{self._new()} quickly")

    def _flood(self, chat: int) -> None:
        for _ in range(FLOOD):
            self._say(chat, f"{self._new()} flood")

    def _command(self, chat: int) -> None:
        self._say(chat, self._dice.choice(("/help", "/status", "/mode", "/skills", "/clear", "/nonsense")))

    def _skill(self, chat: int) -> None:
        self._say(chat, f"/skill {self._dice.choice(SKILLS)} {self._new()}")

    def _press(self, chat: int) -> None:
        buttons = self._people.buttons(chat)
        if buttons:
            button = self._dice.choice(buttons)
            self._hurt(f"user:{abs(chat)}")
            self._people.press(button)
        else:
            self._say(chat, "/mode")

    def _edit(self, chat: int) -> None:
        own = [each for each in self._people.transcript(chat) if not each.by_bot and each.text]
        if own:
            self._people.edit(chat, self._dice.choice(own).message_id, f"{self._new()} edited")

    def _oddity(self, chat: int) -> None:
        """An update that nobody can answer: unreadable, of an unknown kind, or not said to us."""
        match self._dice.randrange(3):
            case 0:
                self._people.raw_update({"message": {"message_id": "no number", "chat": []}})
            case 1:
                self._people.raw_update({"kind_of_tomorrow": {"id": self._new()}})
            case _ if chat < 0:
                self._people.say(chat, f"{self._new()} among ourselves", user=77, chat_type=_type_of(chat))

    async def _block(self, chat: int) -> None:
        self._people.block(chat)
        await asyncio.sleep(self._dice.uniform(5.0, 60.0))
        self._people.block(chat, blocked=False)

    def _migrate(self, group: int) -> None:
        chat = self._people.world.chats.get(group)
        if chat is not None and not chat.migrated_to and chat.type == "group":
            self._supergroups += 1
            self._people.migrate(group, -1_000_000 - self._supergroups)

    # ------------------------------------------------------------ helpers

    def _say(self, chat: int, text: str) -> None:
        self._hurt(f"chat:{chat}")
        if chat < 0:
            name, _, rest = text.partition(" ")
            addressed = f"{name}@firstlight_bot {rest}" if text.startswith("/") else f"@firstlight_bot {text}"
            self._people.say(chat, addressed.strip(), user=77, chat_type=_type_of(chat))
        else:
            self._people.say(chat, text)

    def _hurt(self, lane: str) -> None:
        """Have the lane's next delivery go wrong, if the dice say so."""
        fault = self._faults.draw("update")
        if fault:
            kind, least_s, most_s = _DELIVERIES[fault]
            self._people.faults.add(
                DeliveryFault(kind=kind, lane=lane, seconds=self._dice.uniform(least_s, most_s))
            )

    def _moved(self, chat: int) -> int:
        known = self._people.world.chats.get(chat)
        return known.migrated_to or chat if known is not None else chat

    def _new(self) -> str:
        self._said += 1
        return f"w{self._said}"


def _type_of(chat: int) -> ChatType:
    return "supergroup" if chat <= -1_000_000 else "group"
