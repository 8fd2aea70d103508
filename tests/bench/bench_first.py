"""What the first turn after a cold start costs, beside the warm ones that follow it."""

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from app.system import LocalSystem
from contracts.chat import TakeTurn, TurnsTaken
from contracts.sessions import AcceptUpdate, UpdateAccepted
from contracts.turns import Incoming
from tests.bench import sessions
from tests.bench.kit import Effort, Samples, Table, Values, ratio_between, rows
from tests.bench.meters import NoMeter
from tests.bench.processes import serving
from tests.bench.server import BOT, Wish, settings_of

MS, READS = "ms a turn", "store reads"
WARM, COLD = "warm turns, their median", "first turn without warming"
FIRST, IMAGE = "first turn after a cold start", "first turn after a cold start from an image"
CHATS: Final = 50  # as many as are warmed without an image


def run(effort: Effort) -> Table:
    """Take whole turns: accept, claim, skill, commit, the Bot API call, delivered; each chat has 20 messages."""
    samples = asyncio.run(_measure(effort, effort.pick(3, 11)))
    first, image = (ratio_between(samples, name, WARM, MS) for name in (FIRST, IMAGE))
    reads = max(values[READS] for name in (FIRST, IMAGE) for values in samples[name])
    return Table(
        name="first",
        title="The first turn after a cold start (all actors in one process, SQLite)",
        ratio_of=MS,
        rows=rows(samples, MS, WARM),
        reading=f"After warming, the first turn takes {first:.2f} times as long as the median warm one, warmed"
        f" from an image {image:.2f} times, with {reads:.0f} store reads.",
    )


async def _measure(effort: Effort, times: int) -> Samples:
    samples: dict[str, list[Values]] = {WARM: [], FIRST: [], IMAGE: [], COLD: []}
    with serving(Wish(kind="telegram")) as telegram:
        url = f"http://127.0.0.1:{telegram.port}"
        for number in range(times):
            effort.step(f"round {number + 1} of {times}")
            with tempfile.TemporaryDirectory() as folder:
                first, *warm = await _turns(folder, url, warmed=True, count=CHATS)
                (image,) = await _turns(folder, url, warmed=True, count=1)  # the stop before wrote one
                (cold,) = await _turns(folder, url, warmed=False, count=1)
            samples[FIRST].append(first)
            samples[IMAGE].append(image)
            samples[WARM].append({name: median(turn[name] for turn in warm) for name in first})
            samples[COLD].append(cold)
    return samples


async def _turns(folder: str, telegram: str, *, warmed: bool, count: int) -> list[Values]:
    await _seed(folder)
    system = LocalSystem(settings_of(folder, telegram))
    await (system.start() if warmed else system.open())
    try:
        return [await _turn(system, chat) for chat in _chats(count)]
    finally:
        await system.stop()


async def _turn(system: LocalSystem, chat: int) -> Values:
    before, started = await _reads(system), perf_counter()
    text = "What do you look at first when an error only shows in production?"
    incoming = Incoming(kind="message", chat=chat, user=chat, message=1, text=text)
    accepted = await system.fleet.sessions.of(chat).ask(
        AcceptUpdate(bot=BOT, update=int(started * 1e6), incoming=incoming)
    )
    assert isinstance(accepted, UpdateAccepted), accepted
    taken = await system.fleet.agent.ask(TakeTurn(chat=chat))
    assert isinstance(taken, TurnsTaken), taken
    assert taken.turns == 1, "a benchmark of turns must take them"
    return {MS: (perf_counter() - started) * 1000, READS: float(await _reads(system) - before)}


async def _reads(system: LocalSystem) -> int:
    """Store reads that requests have caused so far, in all actors."""
    stats = [await member.ref.stats() for member in system.fleet.members]
    return sum(each.store_reads.calls for each in stats)


async def _seed(folder: str) -> None:
    """Write the sessions, once."""
    store = SqliteSessionStore(SqliteDatabase(Path(folder, "bench.db")), NoMeter())
    if not (await store.recent_sessions(0, 1)).sessions:
        await asyncio.gather(*(store.write_session(sessions.record(chat), "seed") for chat in _chats(CHATS)))
    await store.close()


def _chats(count: int) -> Iterable[int]:
    return range(1, count + 1)
