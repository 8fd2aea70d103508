"""A service's first minute in a process of its own: `python -m tests.bench.turning '{...}'` prints what each turn took.

All actors are in the process, over SQLite. It starts cold, takes a turn of every chat, then more turns of each.
"""

import asyncio
import sys
from collections.abc import Iterator
from time import perf_counter, process_time

import msgspec

from app.observability import configure_logging
from app.runtime import settle_memory
from app.system import LocalSystem
from contracts.chat import TakeTurn, TurnsTaken
from contracts.sessions import AcceptUpdate, UpdateAccepted
from contracts.turns import Incoming
from tests.bench.server import BOT, settings_of

TEXT = "What do you look at first when an error only shows in production?"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Over the database in `folder`, with the Bot API at `telegram`: one turn of each chat, then `repeats` of each."""

    folder: str
    telegram: str
    chats: int
    repeats: int = 0
    warmed: bool = True


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """What a turn took, in milliseconds by the wall and of CPU in all threads, and its reads of the store."""

    wall_ms: float
    cpu_ms: float
    reads: int


class Turns(msgspec.Struct, frozen=True):
    """The first turn of each chat, in the order in which they were taken, and all later ones."""

    firsts: list[Turn]
    repeats: list[Turn]


async def turns(wish: Wish) -> Turns:
    """Start cold, and take the turns one after another, so that each is measured alone."""
    system = LocalSystem(settings_of(wish.folder, wish.telegram))
    await (system.start() if wish.warmed else system.open())
    settle_memory()  # as `firstlight serve` does
    try:
        firsts = [await _turn(system, chat, 1) for chat in _chats(wish)]
        repeats = [
            await _turn(system, chat, 2 + time) for time in range(wish.repeats) for chat in _chats(wish)
        ]
    finally:
        await system.stop()
    return Turns(firsts, repeats)


async def _turn(system: LocalSystem, chat: int, number: int) -> Turn:
    """A whole turn: accept, claim, skill, commit, the Bot API call, delivered."""
    before = await _reads(system)
    wall, cpu = perf_counter(), process_time()
    incoming = Incoming(kind="message", chat=chat, user=chat, message=number, text=TEXT)
    update = int(wall * 1e6)  # no other turn over this database has it
    accept = AcceptUpdate(bot=BOT, update=update, incoming=incoming)
    accepted = await system.fleet.sessions.of(chat).ask(accept)
    assert isinstance(accepted, UpdateAccepted), accepted
    taken = await system.fleet.agent.ask(TakeTurn(chat=chat))
    wall, cpu = perf_counter() - wall, process_time() - cpu
    assert isinstance(taken, TurnsTaken), taken
    assert taken.turns == 1, "a benchmark of turns must take them"
    return Turn(wall * 1000, cpu * 1000, await _reads(system) - before)


async def _reads(system: LocalSystem) -> int:
    """Store reads that requests have caused so far, in all actors."""
    stats = [await member.ref.stats() for member in system.fleet.members]
    return sum(each.store_reads.calls for each in stats)


def _chats(wish: Wish) -> Iterator[int]:
    return iter(range(1, wish.chats + 1))


if __name__ == "__main__":
    configure_logging("info")
    wished = msgspec.json.decode(sys.argv[1], type=Wish)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(turns(wished))))
