"""What may have cut a send, by the very update that was at work: an `unknown` end is owed to one of these."""

from collections import Counter
from collections.abc import Callable
from typing import Literal

Cause = Literal["container died", "answer lost", "record lost", "message lost"]
"""Its agent or shard died at work on it; Telegram's answer, the store's to a write, or a message was lost."""


class Causes:
    """Knows which update of each chat is at work, and what hit it when."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._open: dict[int, dict[str, None]] = {}
        self._hits: dict[str, dict[Cause, float]] = {}
        self.owed: Counter[str] = Counter()

    def opened(self, chat: int, key: str) -> None:
        """An update waits in its chat, behind those that came before."""
        self._open.setdefault(chat, {})[key] = None

    def ended(self, chat: int, key: str) -> None:
        """It has its end."""
        self._open.get(chat, {}).pop(key, None)

    def hit(self, chat: int, cause: Cause) -> None:
        """Something happened to whoever works on this chat: its oldest update is the one at work."""
        key = next(iter(self._open.get(chat, ())), None)
        if key is not None:
            self._hits.setdefault(key, {})[cause] = self._now()

    def explain(self, key: str, since_s: float) -> Cause | None:
        """Count an unknown end under what hit this update since then; None when nothing did."""
        found = next((cause for cause, at in self._hits.get(key, {}).items() if at >= since_s), None)
        if found is not None:
            self.owed[found] += 1
        return found

    def in_flight(self) -> int:
        """How many updates were at work in a container when it died."""
        return sum("container died" in hits for hits in self._hits.values())
