"""What a durable append costs in SQLite: 64 callers who share commits, against one thread that has all rows at hand."""

import asyncio
import itertools
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from actors.ports import StoreMeter, UpdateRecord
from app.store.sqlite import SqliteDatabase, SqliteSessionStore

CALLERS = 64  # the connections of the webhook benchmark
APPENDS = 12_800
CHATS = 500
BODY = bytes(400)  # a text message as a turn record
ROUNDS = 3  # interleaved, the best of each counts: other work on the machine only ever adds time

_TABLE = """
    CREATE TABLE updates (bot INTEGER, number INTEGER, chat INTEGER, body BLOB, PRIMARY KEY (bot, number))
"""


class NoMeter(StoreMeter):
    """Counts nothing."""

    def read(self, documents: int) -> None:
        """Nothing."""

    def write(self, documents: int) -> None:
        """Nothing."""


def bare_rate(path: Path, synchronous: str) -> float:
    """Give appends a second of the least that can be: `executemany` of 64 rows a commit in one thread."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(_TABLE)
    started = time.perf_counter()
    for first in range(0, APPENDS, CALLERS):
        connection.execute("BEGIN IMMEDIATE")
        rows = [(7, number, number % CHATS, BODY) for number in range(first, first + CALLERS)]
        connection.executemany("INSERT INTO updates VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
        connection.execute("COMMIT")
    rate = APPENDS / (time.perf_counter() - started)
    connection.close()
    return rate


async def store_rate(path: Path, *, durable: bool, callers: int, appends: int) -> tuple[float, float, float]:
    """Give appends a second, their median milliseconds, and how many shared a commit."""
    database = SqliteDatabase(path, durable=durable)
    store = SqliteSessionStore(database, NoMeter())
    await store.append(_update(-1))  # opens the file
    numbers = iter(range(appends))
    spent: list[float] = []
    before, started = database.commits, time.perf_counter()
    await asyncio.gather(*(_caller(store, numbers, spent) for _ in range(callers)))
    elapsed, commits = time.perf_counter() - started, database.commits - before
    await store.close()
    return appends / elapsed, statistics.median(spent) * 1000, appends / commits


async def _caller(store: SqliteSessionStore, numbers: Iterator[int], spent: list[float]) -> None:
    for number in numbers:
        started = time.perf_counter()
        await store.append(_update(number))
        spent.append(time.perf_counter() - started)


def _update(number: int) -> UpdateRecord:
    return UpdateRecord(
        bot=7, update=number, chat=number % CHATS, shard=0, state="accepted", open=True, body=BODY
    )


def main() -> None:
    """Print the table."""
    print(
        f"{'synchronous':12} {'callers':>7} {'appends/s':>10} {'median ms':>10} {'a commit':>9} {'of bare':>8}"
    )
    for synchronous in ("FULL", "NORMAL"):
        bare, rows = _measure(synchronous)
        print(f"{synchronous:12} {'bare':>7} {bare:>10,.0f} {'':>10} {CALLERS:>9} {1:>8.2f}")
        for callers, (rate, median_ms, shared) in rows.items():
            ratio = rate / bare
            print(
                f"{synchronous:12} {callers:>7} {rate:>10,.0f} {median_ms:>10.2f} {shared:>9.1f} {ratio:>8.2f}"
            )


def _measure(synchronous: str) -> tuple[float, dict[int, tuple[float, float, float]]]:
    bare = 0.0
    rows: dict[int, tuple[float, float, float]] = {}
    for callers, _ in itertools.product((1, CALLERS), range(ROUNDS)):
        with tempfile.TemporaryDirectory() as folder:
            bare = max(bare, bare_rate(Path(folder, "bare.db"), synchronous))
            appends = APPENDS if callers > 1 else APPENDS // 20
            run = store_rate(
                Path(folder, "store.db"), durable=synchronous == "FULL", callers=callers, appends=appends
            )
            rows[callers] = max(rows.get(callers, (0.0, 0.0, 0.0)), asyncio.run(run))
    return bare, rows


if __name__ == "__main__":
    main()
