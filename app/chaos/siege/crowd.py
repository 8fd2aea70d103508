"""People who write in chats: each message asks what was said before, so that its answer tells what the bot knew."""

import asyncio
import random
from collections import Counter
from typing import Final

from app.telegram.simulator_people import People

ASK: Final = "message {}: what did I say before?"
LIST: Final = "/skills"
LIST_EVERY: Final = 4
CHATS: Final = 12
PAUSE_S: Final = (0.05, 0.6)
"""Between two messages."""


class Crowd:
    """Writes into chats 1 to `CHATS`; `said` counts messages by chat."""

    def __init__(self, people: People, dice: random.Random) -> None:
        self._people, self._dice = people, dice
        self.said: Counter[int] = Counter()

    async def live(self) -> None:
        """Write on and on."""
        while True:
            self.write(self._dice.randint(1, CHATS))
            await asyncio.sleep(self._dice.uniform(*PAUSE_S))

    def write(self, chat: int) -> None:
        """Write the chat's next message."""
        self.said[chat] += 1
        self._people.say(chat, text_of(self.said[chat]))


def text_of(number: int) -> str:
    """A chat's message by its number, from 1."""
    return LIST if number % LIST_EVERY == 0 else ASK.format(number)
