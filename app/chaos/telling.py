"""What Telegram told of chats, to send nothing to them for a while, and who may come earlier all the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

HASTE_S: Final = 0.5  # what the way of the telling takes
LATELY_S: Final = 20.0  # a sender that was hit shortly before may have lost its turn to one who knows nothing


@dataclass(slots=True)
class Told:
    """What was told of a chat: when, until when nothing may be sent, to whom, and whether the store knows it."""

    at_s: float
    until_s: float
    is_alive: Callable[[], bool]
    kept: bool = False


class Telling:
    """All that was told and is not over."""

    def __init__(self) -> None:
        self._told: dict[int, Told] = {}

    def told(self, chat: int, now_s: float, wait_s: float, is_alive: Callable[[], bool]) -> None:
        """A sender was told to wait."""
        if wait_s:
            self._told[chat] = Told(now_s, now_s + wait_s, is_alive)

    def kept(self, chat: int) -> None:
        """The store knows of it."""
        if chat in self._told:
            self._told[chat].kept = True

    def forget(self, chat: int) -> None:
        """The turn is over that was told."""
        self._told.pop(chat, None)

    def early_s(self, chat: int, now_s: float, struck: Mapping[str, float]) -> float:
        """How much too early a message to the chat is sent; 0 when it is not, or when its sender could not know.

        That is so when the one who was told died or was hit by a fault (`struck`: when, by place) on the way.
        """
        told = self._told.get(chat)
        if told is None or now_s >= told.until_s - HASTE_S:
            return 0.0
        hit = not told.is_alive() or any(
            at_s >= told.at_s - LATELY_S for where, at_s in struck.items() if _touches(where, chat)
        )
        return told.until_s - now_s if told.kept or not hit else 0.0


def _touches(where: str, chat: int) -> bool:
    """Whether a fault there can hit the chat; which shard is its own matters little here."""
    return where == f"chat:{chat}" or not where.startswith("chat:")
