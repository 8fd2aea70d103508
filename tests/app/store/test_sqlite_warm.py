"""Warm images and changes in a SQLite file: files of version 1, spoilt rows."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from actors.image import AHEAD_S, KEPT_S
from actors.stores import StoreDenied
from actors.warm_ports import BLOBS_MOST, StoredImage
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from app.store.sqlite_schema import SCHEMA_VERSION
from app.store.sqlite_warm import SqliteWarmStore
from tests.app.store.backends import CountingMeter
from tests.app.store.records import CHAT, session
from tests.app.store.test_sqlite_files import by_hand
from tests.app.store.test_sqlite_processes import count_at_once

NAME = "SessionCacheActor:0"
IMAGE = StoredImage(manifest=b"manifest", blobs=(b"one", b"two", b"three"))


@pytest.fixture
def old(path: Path) -> Path:
    """A file that version 1 has made, with one record of each kind."""
    script = Path(__file__).with_name("sqlite_version_1.sql").read_text()
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    return path


@pytest.fixture
def sessions(database: SqliteDatabase) -> SqliteSessionStore:
    """The sessions in it."""
    return SqliteSessionStore(database, CountingMeter())


def schema(path: Path) -> tuple[int, set[str]]:
    """The version of the file's tables, and the names of those that came after version 1."""
    connection = sqlite3.connect(path)
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    tables = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'wa%'").fetchall()
    connection.close()
    return version, {name for (name,) in tables}


# ---------------------------------------------------------------- files of version 1


async def test_a_file_of_version_1_is_upgraded(
    old: Path, warm: SqliteWarmStore, sessions: SqliteSessionStore
) -> None:
    """What it holds stays as it is, its marks go on, and it takes an image."""
    chat = await sessions.read_chat(CHAT)
    changes = await warm.changed_sessions(0, 0, 10)
    assert chat.session is not None
    assert (b"session", 1, 4) == (chat.session.body, len(chat.open_updates), changes.watermark)
    assert chat.lease is not None
    assert (chat.session,) == changes.sessions
    assert changes.watermark < await warm.write_image(NAME, IMAGE)
    assert (SCHEMA_VERSION, {"warm_images", "warm_blobs", "warm_pieces", "waits"}) == schema(old)


async def test_many_databases_upgrade_one_file(old: Path) -> None:
    """Ten that open a file of version 1 at once upgrade it once."""
    stores = [SqliteWarmStore(SqliteDatabase(old), CountingMeter()) for _ in range(10)]
    await asyncio.gather(*(store.write_image(f"Actor:{n}", IMAGE) for n, store in enumerate(stores)))
    read = [await stores[0].read_image(f"Actor:{n}") for n in range(10)]
    assert [IMAGE.blobs] * 10 == [one.blobs for one in read if one is not None]
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.slow
async def test_processes_upgrade_one_file(old: Path, sessions: SqliteSessionStore) -> None:
    """Three processes that open it at once and work on it lose nothing."""
    by_hand(old, "DELETE FROM sessions")
    await count_at_once(old, (1000, 2000, 3000))
    chat = await sessions.read_chat(CHAT)
    assert chat.session is not None
    assert (b"75", 1 + 3 * 40) == (chat.session.body, len(chat.open_updates))


async def test_an_upgrade_that_fails_changes_nothing(old: Path, warm: SqliteWarmStore) -> None:
    """All steps are one transaction: a file that could not be upgraded is still one of version 1."""
    by_hand(old, "CREATE TABLE warm_blobs (somebody, elses)")
    with pytest.raises(StoreDenied, match="already exists"):
        await warm.read_image(NAME)
    assert (1, {"warm_blobs"}) == schema(old)


# ---------------------------------------------------------------- tombstones


async def test_a_tombstone_outlives_every_image(path: Path, sessions: SqliteSessionStore) -> None:
    """An image that still holds a forgotten session is too old to be used before nobody knows of that any more."""
    await sessions.write_session(session(body=b""), "forget")
    connection = sqlite3.connect(path)
    ((kept_s,),) = connection.execute("SELECT expires_at - updated_at FROM sessions").fetchall()
    connection.close()
    assert kept_s >= KEPT_S + AHEAD_S


# ---------------------------------------------------------------- poison


@pytest.mark.parametrize(
    ("poison", "manifest", "blobs"),
    [
        ("UPDATE warm_pieces SET body = 'text' WHERE slot = -1", b"", IMAGE.blobs),
        ("DELETE FROM warm_pieces WHERE slot = -1", b"", IMAGE.blobs),
        ("UPDATE warm_images SET blobs = 'x'", b"manifest", IMAGE.blobs + (b"",) * (BLOBS_MOST - 3)),
        ("UPDATE warm_images SET blobs = -1", b"manifest", IMAGE.blobs + (b"",) * (BLOBS_MOST - 3)),
        ("UPDATE warm_images SET version = 'x'", b"manifest", IMAGE.blobs),
        ("UPDATE warm_images SET version = NULL", b"manifest", IMAGE.blobs),
        ("DELETE FROM warm_pieces WHERE slot = 1", b"manifest", (b"one", b"", b"three")),
        ("UPDATE warm_pieces SET body = 5 WHERE slot = 2", b"manifest", (b"one", b"two", b"")),
        ("UPDATE warm_pieces SET slot = 'x' WHERE slot = 2", b"manifest", (b"one", b"two", b"")),
        ("DELETE FROM warm_pieces", b"", (b"", b"", b"")),
        ("UPDATE warm_images SET operation = NULL", b"", (b"", b"", b"")),
        ("UPDATE warm_images SET manifest = 'text'", b"", (b"", b"", b"")),
    ],
)
async def test_a_spoilt_image_comes_with_what_is_there(
    path: Path, warm: SqliteWarmStore, poison: str, manifest: bytes, blobs: tuple[bytes, ...]
) -> None:
    """Its checksums tell what is wrong with it, and the next image replaces it."""
    await warm.write_image(NAME, IMAGE)
    by_hand(path, poison)
    with capture_logs() as logs:
        spoilt = await warm.read_image(NAME)
    assert spoilt is not None
    assert (manifest, blobs) == (spoilt.manifest, spoilt.blobs)
    assert ["warm_image_set_aside"] * (not manifest) == [line["event"] for line in logs]
    new = StoredImage(manifest=b"new", blobs=(b"only",), version=spoilt.version)
    version = await warm.write_image(NAME, new)
    assert StoredImage(manifest=b"new", blobs=(b"only",), version=version) == await warm.read_image(NAME)


@pytest.mark.parametrize("poison", ["body = 'text'", "body = NULL", "shard = shard, updated_at = 'now'"])
async def test_a_spoilt_session_is_a_change_set_aside(
    path: Path, warm: SqliteWarmStore, sessions: SqliteSessionStore, poison: str
) -> None:
    """It is named, it counts for the limit, and the mark reaches as far as it does."""
    versions = {chat: await sessions.write_session(session(chat), "write") for chat in (1, 2, 3)}
    by_hand(path, f"UPDATE sessions SET {poison} WHERE chat = 2")  # noqa: S608 the poison is ours
    changes = await warm.changed_sessions(0, 0, 2)
    assert [3] == [one.chat for one in changes.sessions]
    assert ["telegram_sessions/2"] == [one.file for one in changes.set_aside]
    assert versions[2] == changes.reaches


@pytest.mark.parametrize("poison", ["version = 'x'", "version = x'00'", "version = NULL"])
async def test_a_spoilt_version_hides_no_change(
    path: Path, warm: SqliteWarmStore, sessions: SqliteSessionStore, poison: str
) -> None:
    """What sorts above or below every version leaves room for the others."""
    for chat in (1, 2, 3):
        await sessions.write_session(session(chat), "write")
    by_hand(path, f"UPDATE sessions SET {poison} WHERE chat = 2")  # noqa: S608 the poison is ours
    changes = await warm.changed_sessions(0, 0, 2)
    assert [3, 1] == [one.chat for one in changes.sessions]


async def test_changes_are_bounded_in_bytes(database: SqliteDatabase, sessions: SqliteSessionStore) -> None:
    """I7: the answer ends with the session that brings it to the bound, and the mark says which are missing."""
    versions = {
        chat: await sessions.write_session(session(chat, body=b"x" * 1_000), "write") for chat in range(1, 5)
    }
    warm = SqliteWarmStore(database, CountingMeter(), changes_bytes=2_000)
    cut = await warm.changed_sessions(0, 0, 10)
    assert ([4, 3], versions[3], versions[4]) == (
        [one.chat for one in cut.sessions],
        cut.reaches,
        cut.watermark,
    )
    rest = await warm.changed_sessions(0, cut.reaches, 10)
    assert ([4], cut.reaches) == ([one.chat for one in rest.sessions], rest.reaches)
    await warm.close()
