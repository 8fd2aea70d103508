"""A program from before the waits works on the file beside this one, as in a deploy: its statements, word for word."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from actors.stores import UpdateRecord
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from tests.app.store.backends import CountingMeter
from tests.app.store.records import CHAT, ended, lease, step, update
from tests.app.store.test_sqlite_files import by_hand

KNEW_VERSION: Final = 2
WRITE_LEASE: Final = """
    INSERT OR REPLACE INTO leases SELECT ?1, ?2, ?3, ?4, ?5, ?6
    WHERE EXISTS (SELECT 1 FROM updates WHERE open = 1 AND chat = ?1 AND bot || ':' || "update" = ?4)
"""
READ_LEASE: Final = "SELECT *, abs(? - renewed_at) AS age_s FROM leases WHERE chat = ?"
GIVE_UP_LEASE: Final = "DELETE FROM leases WHERE chat = ?"
END_LEASE: Final = "DELETE FROM leases WHERE chat = ? AND update_key = ?"
END_UPDATE: Final = """
    UPDATE updates SET state = ?, open = ?, reason = ?, body = ?, version = ?, operation = ?, expires_at = ?
    WHERE bot = ? AND "update" = ?
"""


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteSessionStore]:
    """This program's store."""
    store = SqliteSessionStore(SqliteDatabase(path), CountingMeter())
    yield store
    await store.close()


@pytest.fixture
async def record(store: SqliteSessionStore) -> UpdateRecord:
    """A turn that was handed back here, to wait 300 s."""
    appended = await store.append(update(1))
    nobody = msgspec.structs.replace(lease(1, owner="", attempt=0), wait_s=300.0)
    await store.write_lease(CHAT, nobody)
    return msgspec.structs.replace(update(1), version=appended.version)


def old(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Do in the old program what the statement says."""
    connection = sqlite3.connect(path, isolation_level=None)
    rows = connection.execute(statement, values).fetchall()
    connection.close()
    return rows


async def waits_s(store: SqliteSessionStore) -> float:
    """How long the chat waits; 0 for one that was never told to."""
    held = (await store.read_chat(CHAT)).lease
    return held.wait_s if held is not None else 0.0


async def test_an_old_program_leases_and_gives_up(
    path: Path, store: SqliteSessionStore, record: UpdateRecord
) -> None:
    """Its lease is read here, what is read there has its six columns, and the wait outlasts it all."""
    old(path, WRITE_LEASE, CHAT, "lease-2", "old", record.key, 2, 1.0)
    held = (await store.read_chat(CHAT)).lease
    assert held is not None
    assert ("lease-2", "old", record.key, 2) == (held.lease, held.owner, held.update_key, held.attempt)
    assert 290.0 < held.wait_s <= 300.0
    assert [(CHAT, "lease-2", "old", record.key, 2, 1.0, 9.0)] == old(path, READ_LEASE, 10.0, CHAT)
    old(path, GIVE_UP_LEASE, CHAT)
    assert 290.0 < await waits_s(store) <= 300.0


async def test_an_old_program_ends_a_turn_that_waits(
    path: Path, store: SqliteSessionStore, record: UpdateRecord
) -> None:
    """It leaves a wait behind that nobody is told of, that a purge erases, and that is not the next turn's."""
    old(path, END_UPDATE, "answered", 0, "", b"", 9, "end", None, record.bot, record.update)
    old(path, END_LEASE, CHAT, record.key)
    assert 0.0 == await waits_s(store)
    await store.append(update(2))
    await store.write_lease(CHAT, lease(2))
    assert 0.0 == await waits_s(store)
    await store.purge(10)
    assert [] == old(path, "SELECT * FROM waits")


async def test_an_end_erases_the_wait(path: Path, store: SqliteSessionStore, record: UpdateRecord) -> None:
    """Of a turn that ends here nothing is left to purge."""
    await store.write_turn(step(ended(record)))
    assert [] == old(path, "SELECT * FROM waits")


async def test_an_old_program_opens_the_file(
    path: Path, store: SqliteSessionStore, record: UpdateRecord
) -> None:
    """It refuses newer versions than it knows: for a table that it may leave alone there is none."""
    del store, record
    assert [(KNEW_VERSION,)] == old(path, "PRAGMA user_version")


async def test_a_file_of_an_old_program_gets_its_waits(
    path: Path, store: SqliteSessionStore, record: UpdateRecord
) -> None:
    """What it holds stays, its version as well, and it keeps waits from then on."""
    await store.close()
    by_hand(path, "DROP TABLE waits")
    again = SqliteSessionStore(SqliteDatabase(path), CountingMeter())
    assert [record] == [
        msgspec.structs.replace(each, accepted_at=record.accepted_at)
        for each in (await again.read_chat(CHAT)).open_updates
    ]
    await again.write_lease(CHAT, msgspec.structs.replace(lease(1), wait_s=300.0))
    assert 290.0 < await waits_s(again) <= 300.0
    assert [(KNEW_VERSION,)] == old(path, "PRAGMA user_version")
    await again.close()
