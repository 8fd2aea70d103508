"""What a durable append costs in SQLite: 64 callers who share commits, against one thread that has all rows at hand."""

import asyncio
import sqlite3
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

from actors.stores import UpdateRecord
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from tests.bench.kit import Contender, Effort, Table, Values, rounds, rows
from tests.bench.meters import NoMeter

CALLERS = 64  # the connections of the webhook benchmark
APPENDS = 12_800
CHATS = 500
BODY = bytes(400)  # a text message as a turn record
RATE, CPU, SHARED = "appends/s", "CPU us/append", "appends a commit"

_TABLE = """
    CREATE TABLE updates (bot INTEGER, number INTEGER, chat INTEGER, body BLOB, PRIMARY KEY (bot, number))
"""


def run(effort: Effort) -> Table:
    """Measure both ways to be durable: FULL syncs each commit, NORMAL may lose the last ones with the machine."""
    samples = rounds(dict(_contenders(effort.pick(APPENDS // 5, APPENDS))), effort.pick(3, 7), effort)
    against = {name: f"{name.partition(',')[0]}, bare" for name in samples if not name.endswith(", bare")}
    found = rows(samples, RATE, against)
    shared = next(row for row in found if row.name == f"FULL, {CALLERS} callers")
    return Table(
        name="store",
        title="Durable appends to SQLite: callers who share commits, and one thread with all rows at hand",
        ratio_of=RATE,
        rows=found,
        reading=f"{CALLERS} callers, each waiting for its own append, get {shared.ratio or 0:.2f} of what a bare"
        f" thread gets that has {CALLERS} rows at hand for each commit.",
    )


def _contenders(appends: int) -> Iterator[tuple[str, Contender]]:
    for synchronous in ("FULL", "NORMAL"):
        yield f"{synchronous}, bare", partial(_bare, synchronous, appends)
        for callers in (1, CALLERS):
            yield f"{synchronous}, {callers} callers", partial(_stored, synchronous, callers, appends)


def _stored(synchronous: str, callers: int, appends: int) -> Values:
    count, durable = appends if callers > 1 else appends // 20, synchronous == "FULL"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bench.db")
        return asyncio.run(store_rate(path, durable=durable, callers=callers, appends=count))


def _bare(synchronous: str, appends: int) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        return bare_rate(Path(folder, "bench.db"), synchronous, appends)


def bare_rate(path: Path, synchronous: str, appends: int) -> Values:
    """Give the rate and cost of the least that can be: `executemany` of 64 rows a commit in one thread."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(_TABLE)
    cpu, started = process_time(), perf_counter()
    for first in range(0, appends, CALLERS):
        connection.execute("BEGIN IMMEDIATE")
        rows = [(7, number, number % CHATS, BODY) for number in range(first, first + CALLERS)]
        connection.executemany("INSERT INTO updates VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
        connection.execute("COMMIT")
    elapsed, cpu_s = perf_counter() - started, process_time() - cpu
    connection.close()
    return {RATE: appends / elapsed, CPU: cpu_s / appends * 1e6, SHARED: CALLERS}


async def store_rate(path: Path, *, durable: bool, callers: int, appends: int) -> Values:
    """Give the same of the store, whose callers each wait for their own append."""
    database = SqliteDatabase(path, durable=durable)
    store = SqliteSessionStore(database, NoMeter())
    await store.append(_update(-1))  # opens the file
    numbers = iter(range(appends))
    spent: list[float] = []
    before, cpu, started = database.commits, process_time(), perf_counter()
    await asyncio.gather(*(_caller(store, numbers, spent) for _ in range(callers)))
    elapsed, cpu_s = perf_counter() - started, process_time() - cpu
    commits = database.commits - before
    await store.close()
    return {
        RATE: appends / elapsed,
        CPU: cpu_s / appends * 1e6,
        "median ms": statistics.median(spent) * 1000,
        SHARED: appends / commits,
    }


async def _caller(store: SqliteSessionStore, numbers: Iterator[int], spent: list[float]) -> None:
    for number in numbers:
        started = perf_counter()
        await store.append(_update(number))
        spent.append(perf_counter() - started)


def _update(number: int) -> UpdateRecord:
    return UpdateRecord(
        bot=7, update=number, chat=number % CHATS, shard=0, state="accepted", open=True, body=BODY
    )
