"""What the first turns after a cold start cost, beside later ones of the same chats; each start is a process."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from tests.bench import sessions
from tests.bench.kit import Effort, Samples, Table, Values, ratio_between, rows
from tests.bench.meters import NoMeter
from tests.bench.processes import ROOT, serving
from tests.bench.server import Wish as Server
from tests.bench.turning import Turn, Turns, Wish

MS, CPU, READS = "ms a turn", "CPU ms a turn", "store reads, the most"
REPEATED, FIRSTS = "repeated, median", "first of each chat, median"
SLOWEST, VERY_FIRST = "first of each chat, slowest", "very first"
SLOWEST_REPEATED = "repeated, slowest of as many"
UNWARMED: Final = "not warmed: very first"
_OF: Final = (REPEATED, SLOWEST_REPEATED, FIRSTS, SLOWEST, VERY_FIRST)
STARTS: Final = ("by a query", "from an image")
CHATS: Final = 50  # as many as are warmed without an image
REPEATS: Final = 4
TURN_S: Final = 120.0  # a start and 250 turns: two seconds on an idle machine


def run(effort: Effort) -> Table:
    """Take a turn of every warmed chat, then more of each, over sessions of 20 messages; several cold starts."""
    samples = _measure(effort, effort.pick(3, 11))
    against = {
        _row(start, name): _row(start, REPEATED) for start in STARTS for name in _OF if name != REPEATED
    }
    return Table(
        name="first",
        title="The first turns after a cold start (all actors in one process, SQLite)",
        ratio_of=CPU,
        rows=rows(samples, CPU, against | {UNWARMED: _row(STARTS[0], REPEATED)}),
        reading=_reading(samples),
    )


def _measure(effort: Effort, times: int) -> Samples:
    samples: dict[str, list[Values]] = {}
    with serving(Server(kind="telegram")) as telegram:
        url = f"http://127.0.0.1:{telegram.port}"
        for number in range(times):
            effort.step(f"cold start {number + 1} of {times}")
            with tempfile.TemporaryDirectory() as folder:
                for name, values in _once(folder, url).items():
                    samples.setdefault(name, []).append(values)
    return samples


def _once(folder: str, telegram: str) -> dict[str, Values]:
    """A start that finds no image, one that finds the image which the first has left, and one that is not warmed."""
    asyncio.run(_seed(folder))
    wish = Wish(folder=folder, telegram=telegram, chats=CHATS, repeats=REPEATS)
    found: dict[str, Values] = {}
    for start in STARTS:
        taken = _started(wish)
        found |= {_row(start, name): values for name, values in _values(taken).items()}
    cold = _started(msgspec.structs.replace(wish, chats=1, repeats=0, warmed=False))
    return found | {UNWARMED: _middle(cold.firsts)}


def _started(wish: Wish) -> Turns:
    """Start a process, and give what its turns took; raises CalledProcessError."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.bench.turning",
        msgspec.json.encode(wish).decode(),
    ]
    out = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=TURN_S, cwd=ROOT)
    return msgspec.json.decode(out, type=Turns)


def _values(taken: Turns) -> dict[str, Values]:
    rounds = [taken.repeats[start : start + CHATS] for start in range(0, len(taken.repeats), CHATS)]
    return {
        REPEATED: _middle(taken.repeats),
        SLOWEST_REPEATED: _middle([_slowest(turns) for turns in rounds]),
        FIRSTS: _middle(taken.firsts),
        SLOWEST: _middle([_slowest(taken.firsts)]),
        VERY_FIRST: _middle(taken.firsts[:1]),
    }


def _slowest(turns: Sequence[Turn]) -> Turn:
    return max(turns, key=lambda turn: turn.cpu_ms)


def _middle(turns: Sequence[Turn]) -> Values:
    wall, cpu = median(turn.wall_ms for turn in turns), median(turn.cpu_ms for turn in turns)
    return {MS: wall, CPU: cpu, READS: float(max(turn.reads for turn in turns))}


def _reading(samples: Samples) -> str:
    reads = max(run[READS] for start in STARTS for name in _OF for run in samples[_row(start, name)])
    told = (
        f"warmed {start}, the first turns of all {CHATS} chats take {_ratios(samples, start, FIRSTS)} times as long"
        f" as the median repeated one, the very first of them {_ratios(samples, start, VERY_FIRST)},"
        f" the slowest {_ratios(samples, start, SLOWEST)},"
        f" and the slowest of as many repeated ones {_ratios(samples, start, SLOWEST_REPEATED)}"
        for start in STARTS
    )
    text = "; ".join(told)
    return f"In CPU time (and by the wall): {text}. The most store reads in any of them: {reads:.0f}."


def _ratios(samples: Samples, start: str, name: str) -> str:
    pair = _row(start, name), _row(start, REPEATED)
    return f"{ratio_between(samples, *pair, CPU):.2f} ({ratio_between(samples, *pair, MS):.2f})"


def _row(start: str, name: str) -> str:
    return f"{start}: {name}"


async def _seed(folder: str) -> None:
    """Write the sessions."""
    store = SqliteSessionStore(SqliteDatabase(Path(folder, "bench.db")), NoMeter())
    chats = range(1, CHATS + 1)
    await asyncio.gather(*(store.write_session(sessions.record(chat), "seed") for chat in chats))
    await store.close()
