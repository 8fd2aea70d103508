"""A process of its own at work on a SQLite file, for tests that need several of them or kill one."""

import asyncio
import itertools
import sys
from pathlib import Path

import msgspec

from actors.stores import SessionRecord, VersionConflict
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from tests.app.store.backends import CountingMeter
from tests.app.store.records import CHAT, session, update


async def append_for_ever(store: SqliteSessionStore, first: int) -> None:
    """Append from eight callers and say each number once it is acknowledged, until killed."""
    counter = itertools.count(first)

    async def caller() -> None:
        for number in counter:
            await store.append(update(number, chat=number % 5))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()

    await asyncio.gather(*(caller() for _ in range(8)))


async def append_and_count(store: SqliteSessionStore, first: int) -> None:
    """Append 40 updates and add 1 to the chat's session 25 times, both at once."""
    await asyncio.gather(
        *(store.append(update(first + n)) for n in range(40)),
        _add(store, [f"{first}-{n}" for n in range(25)]),
    )


async def _add(store: SqliteSessionStore, operations: list[str]) -> None:
    for operation in operations:
        await _add_one(store, operation)


async def _add_one(store: SqliteSessionStore, operation: str) -> None:
    while True:
        stored = (await store.read_chat(CHAT)).session or SessionRecord(chat=CHAT, shard=0, body=b"0")
        new = msgspec.structs.replace(session(version=stored.version), body=b"%d" % (int(stored.body) + 1))
        try:
            await store.write_session(new, operation)
        except VersionConflict:
            continue
        return


WORK = {"append": append_for_ever, "count": append_and_count}


async def main(work: str, path: str, first: str) -> None:
    """Do the named work on the file, numbering updates from `first`."""
    store = SqliteSessionStore(SqliteDatabase(Path(path)), CountingMeter())
    await WORK[work](store, int(first))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
