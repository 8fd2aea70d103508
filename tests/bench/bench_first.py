"""What the first turns after a cold start cost, beside later ones of the same chats; each start is a process."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from tests.bench import sessions
from tests.bench.first_turns import (
    CPU,
    FIRSTS,
    MS,
    READS,
    REPEATED,
    ROWS,
    SLOWEST,
    SLOWEST_REPEATED,
    VERY_FIRST,
    WORST,
    WORST_REPEATED,
    Starts,
    alone,
)
from tests.bench.kit import Effort, Table, Values, ratio_between, rows
from tests.bench.meters import NoMeter
from tests.bench.processes import ROOT, serving
from tests.bench.server import Wish as Server
from tests.bench.turning import Turns, Wish

UNWARMED: Final = "not warmed: very first"
STARTS: Final = ("by a query", "from an image")
CHATS: Final = 50  # as many as are warmed without an image
REPEATS: Final = 4
TURN_S: Final = 120.0  # a start and 250 turns: two seconds on an idle machine


def run(effort: Effort) -> Table:
    """Take a turn of every warmed chat, then more of each, over sessions of 20 messages; several cold starts."""
    warmed, unwarmed = _measure(effort, effort.pick(3, 15))
    samples: dict[str, Sequence[Values]] = {
        _row(start, name): values for start in STARTS for name, values in warmed[start].samples().items()
    }
    samples[UNWARMED] = [alone(taken.firsts[0]) for taken in unwarmed]
    against = {_row(start, name): _row(start, REPEATED) for start in STARTS for name in ROWS[1:]}
    return Table(
        name="first",
        title="The first turns after a cold start (all actors in one process, SQLite)",
        ratio_of=CPU,
        rows=rows(samples, CPU, against | {UNWARMED: _row(STARTS[0], REPEATED)}),
        reading=reading(warmed),
    )


def reading(warmed: Mapping[str, Starts]) -> str:
    """What the rows of each kind of start say, by the wall as well."""
    told = "; ".join(f"warmed {start}, {_told(starts)}" for start, starts in warmed.items())
    times = min(starts.times for starts in warmed.values())
    return (
        "In CPU time (and by the wall), beside the median repeated turn of the same process. A chat counts by the"
        f" median of its first turn over {times} cold starts, as a single one tells what else the machine did:"
        f" {told}. The most store reads in any turn: {max(map(_most_reads, warmed.values())):.0f}."
    )


def _told(starts: Starts) -> str:
    named = " and ".join(dict.fromkeys(_named(starts.worst_chat(measure)) for measure in (CPU, MS)))
    ratio = _ratios(starts)
    return (
        f"the worst of {starts.chats} chats takes {ratio[WORST]} times as long ({named}), the median one"
        f" {ratio[FIRSTS]}, the very first {ratio[VERY_FIRST]}, the worst of as many repeated turns"
        f" {ratio[WORST_REPEATED]}; the slowest single one of a start is {ratio[SLOWEST]} among the first turns,"
        f" {ratio[SLOWEST_REPEATED]} among as many repeated ones"
    )


def _named(chat: int) -> str:
    return "chat 1, the very first" if chat == 1 else f"chat {chat}"


def _ratios(starts: Starts) -> Mapping[str, str]:
    """Of each row to the repeated turns, by CPU and by the wall."""
    cpu, wall = starts.samples(CPU), starts.samples(MS)
    return {
        name: f"{ratio_between(cpu, name, REPEATED, CPU):.2f} ({ratio_between(wall, name, REPEATED, MS):.2f})"
        for name in ROWS
    }


def _most_reads(starts: Starts) -> float:
    return max(run[READS] for turns in starts.samples().values() for run in turns)


def _row(start: str, name: str) -> str:
    return f"{start}: {name}"


# ---------------------------------------------------------------- measuring


def _measure(effort: Effort, times: int) -> tuple[Mapping[str, Starts], Sequence[Turns]]:
    """The turns of warmed starts, by how they were warmed, and those of starts that were not."""
    taken: dict[str, list[Turns]] = {start: [] for start in (*STARTS, UNWARMED)}
    with serving(Server(kind="telegram")) as telegram:
        url = f"http://127.0.0.1:{telegram.port}"
        for number in range(times):
            effort.step(f"cold start {number + 1} of {times}")
            with tempfile.TemporaryDirectory() as folder:
                for start, turns in _once(folder, url).items():
                    taken[start].append(turns)
    return {start: Starts(taken[start]) for start in STARTS}, taken[UNWARMED]


def _once(folder: str, telegram: str) -> Mapping[str, Turns]:
    """A start that finds no image, one that finds the image which the first has left, and one that is not warmed."""
    asyncio.run(_seed(folder))
    wish = Wish(folder=folder, telegram=telegram, chats=CHATS, repeats=REPEATS)
    found = {start: _started(wish) for start in STARTS}
    return found | {UNWARMED: _started(msgspec.structs.replace(wish, chats=1, repeats=0, warmed=False))}


def _started(wish: Wish) -> Turns:
    """Start a process, and give what its turns took; raises CalledProcessError."""
    wished = msgspec.json.encode(wish).decode()
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.turning", wished]
    out = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=TURN_S, cwd=ROOT)
    return msgspec.json.decode(out, type=Turns)


async def _seed(folder: str) -> None:
    """Write the sessions."""
    store = SqliteSessionStore(SqliteDatabase(Path(folder, "bench.db")), NoMeter())
    chats = range(1, CHATS + 1)
    await asyncio.gather(*(store.write_session(sessions.record(chat), "seed") for chat in chats))
    await store.close()
