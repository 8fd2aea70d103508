"""What the demo proves: counted on the simulated Telegram's side and in the store, not by the bot's own word."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from app.dev import Dev
from app.doctor import examine
from app.store.database import choose
from contracts.base import Value
from contracts.warming import ActorStats

SETTLE_S: Final = 1.0  # a second answer, if there were one, would come by then


class Said(Protocol):
    """A line of the recording, as far as it is counted."""

    @property
    def chat(self) -> int:
        """The chat that it was written in."""


class Proof(Value, frozen=True, kw_only=True):
    """How many messages people sent, how often Telegram delivered them, and what became of them."""

    messages: int
    deliveries: int
    lost: int
    doubled: int

    @property
    def holds(self) -> bool:
        """Whether every message was answered exactly once."""
        return self.lost == 0 and self.doubled == 0


class Served(Value, frozen=True, kw_only=True):
    """Store reads of all actors since a restart; `warmed`: the shard had sessions to serve from, and served."""

    reads: int
    warmed: bool


def after_restart(stats: Sequence[ActorStats]) -> Served:
    """What all requests since the restart cost, asked right after the first turn was answered."""
    shards = [each for each in stats if each.actor == "SessionCacheActor" and each.first_request is not None]
    warmed = any(each.warm is not None and each.warm.loaded > 0 for each in shards)
    return Served(reads=sum(each.store_reads.calls for each in stats), warmed=warmed)


async def prove(dev: Dev, lines: Sequence[Said]) -> Proof:
    """Count answers against messages, and ask the store for updates without an end."""
    await asyncio.sleep(SETTLE_S)
    asked = Counter(line.chat for line in lines)
    answered = {chat: len(dev.simulator.replies(chat)) for chat in asked}
    assert dev.service is not None, "started"
    findings = await examine(choose(dev.service.settings))
    missing = sum(max(0, count - answered[chat]) for chat, count in asked.items())
    return Proof(
        messages=len(lines),
        deliveries=dev.simulator.updates.counts.attempts,
        lost=max(missing, len(findings.lost) + len(findings.stuck)),
        doubled=sum(max(0, answered[chat] - count) for chat, count in asked.items()),
    )
