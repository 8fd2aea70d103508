"""What a SQLite file may be, and what is made of a wrong or a damaged one."""

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.stores import SkillRun, StoreDenied
from app.store.sqlite import SqliteDatabase, SqliteSessionStore, SqliteSkillStatsStore
from app.store.sqlite_schema import SCHEMA_VERSION
from tests.app.store.backends import CountingMeter
from tests.app.store.records import CHAT, ended, lease, session, update

NO_UTF8 = "CAST(x'eda080' AS TEXT)"  # a surrogate, as a careless writer leaves it


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    """A database whose ended records expire at once."""
    database = SqliteDatabase(path, keep_s=-1.0, tombstones_s=-1.0)
    yield database
    await database.close()


@pytest.fixture
def store(database: SqliteDatabase) -> SqliteSessionStore:
    """The sessions in it."""
    return SqliteSessionStore(database, CountingMeter())


@pytest.fixture
def skills(database: SqliteDatabase) -> SqliteSkillStatsStore:
    """The statistics in it."""
    return SqliteSkillStatsStore(database, CountingMeter())


def by_hand(path: Path, *statements: str) -> None:
    """Change the file as no version of ours does."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def refusal(path: Path) -> str:
    """Give the one line with which the store at `path` refuses both a write and a read."""
    store = SqliteSessionStore(SqliteDatabase(path), CountingMeter())
    with pytest.raises(StoreDenied) as written:
        await store.append(update(1))
    with pytest.raises(StoreDenied) as read:
        await store.read_chat(CHAT)
    await store.close()
    assert str(written.value) == str(read.value)
    assert str(path) in str(read.value)
    return str(read.value)


# ---------------------------------------------------------------- paths and versions


async def test_no_folder(tmp_path: Path) -> None:
    """The folder is not made; the line names the path."""
    assert (await refusal(tmp_path / "absent" / "x.db")).endswith("No such file or directory")


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder in the file's place is named."""
    assert (await refusal(tmp_path)).endswith("Is a directory")


async def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A file in the folder's place is named."""
    (tmp_path / "file").touch()
    assert (await refusal(tmp_path / "file" / "x.db")).endswith("Not a directory")


async def test_no_permission(tmp_path: Path) -> None:
    """A path that the system lets nobody write, root neither, is named."""
    assert (await refusal(Path("/proc/version"))).startswith("sqlite /proc/version: ")


async def test_nul_in_the_path(tmp_path: Path) -> None:
    """A path that is none is refused as well."""
    assert (await refusal(tmp_path / "a\0b")).endswith("embedded null byte")


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    """A file of something else."""
    path = tmp_path / "letter.txt"
    path.write_bytes(b"a text, long enough to have a header" * 100)
    return path


async def test_not_a_database(letter: Path) -> None:
    """A file of something else is refused."""
    assert (await refusal(letter)).endswith("file is not a database")


async def test_another_programs_database(path: Path) -> None:
    """No table of ours is added to a database that is not ours."""
    by_hand(path, "CREATE TABLE theirs (x)")
    assert (await refusal(path)).endswith("the database of another program")


async def test_a_newer_schema(path: Path, store: SqliteSessionStore) -> None:
    """A file that a newer version has changed is not touched by an older one."""
    await store.append(update(1))
    await store.close()
    by_hand(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    assert f"schema {SCHEMA_VERSION + 1}, and this version knows {SCHEMA_VERSION}" in await refusal(path)


async def test_a_path_put_right(tmp_path: Path) -> None:
    """The next call opens the file once its folder is there, without a restart."""
    store = SqliteSessionStore(SqliteDatabase(tmp_path / "late" / "x.db"), CountingMeter())
    with pytest.raises(StoreDenied):
        await store.append(update(1))
    (tmp_path / "late").mkdir()
    assert (await store.append(update(1))).created
    await store.close()


async def test_others_cannot_read_the_file(path: Path, store: SqliteSessionStore) -> None:
    """The file and its log hold people's messages."""
    await store.append(update(1))
    files = sorted(path.parent.iterdir())
    assert [one.name for one in files] == ["firstlight.db", "firstlight.db-shm", "firstlight.db-wal"]
    assert [stat.S_IMODE(one.stat().st_mode) for one in files] == [0o600] * 3


async def test_opening_leaves_nothing_to_open_and_writes_nothing(
    path: Path, database: SqliteDatabase
) -> None:
    """Both threads hold the file before the first request, and no commit was made for that."""
    await database.open()
    threads = {thread.name for thread in threading.enumerate()}
    assert {f"sqlite reader of {path}", f"sqlite writer of {path}"} <= threads
    assert 0 == database.commits


async def test_a_commit_is_synced(store: SqliteSessionStore, database: SqliteDatabase) -> None:
    """The setting that survives a power cut is the default."""
    full, wal = 2, "wal"
    assert (full, wal) == await database.write(
        lambda commit: (
            *commit.connection.execute("PRAGMA synchronous").fetchone(),
            *commit.connection.execute("PRAGMA journal_mode").fetchone(),
        )
    )


async def test_many_databases_make_one_file(path: Path) -> None:
    """Ten that open a new file at once make its tables once."""
    stores = [SqliteSessionStore(SqliteDatabase(path), CountingMeter()) for _ in range(10)]
    await asyncio.gather(*(store.append(update(n)) for n, store in enumerate(stores)))
    assert len((await stores[0].read_chat(CHAT)).open_updates) == 10
    await asyncio.gather(*(store.close() for store in stores))


# ---------------------------------------------------------------- poison


@pytest.mark.parametrize(
    "poison",
    [
        "shard = 'x'", "body = 'text'", "body = NULL", "body = 5", "version = 'x'", "version = 1.5",
        "version = NULL", "updated_at = 'yesterday'", "updated_at = x'00'", f"updated_at = {NO_UTF8}",
    ],
)  # fmt: skip
async def test_a_poison_session(path: Path, store: SqliteSessionStore, poison: str) -> None:
    """It is set aside by name and comes as an empty one, which the next write replaces; the others load."""
    for chat in (1, 2, 3):
        await store.write_session(session(chat), f"write-{chat}")
    by_hand(path, f"UPDATE sessions SET {poison} WHERE chat = 2")  # noqa: S608 the poison is ours
    batch = await store.read_sessions([1, 2, 3])
    state = await store.read_chat(2)
    assert {1: b"session", 2: b"", 3: b"session"} == {one.chat: one.body for one in batch.sessions}
    assert [one.file for one in batch.set_aside] == ["telegram_sessions/2"]
    assert state.session is not None
    assert (state.session.body, state.set_aside) == (b"", batch.set_aside)
    await store.write_session(session(2, version=state.session.version, body=b"new"), "heal")
    healed = await store.read_chat(2)
    assert healed.session is not None
    assert (healed.session.body, healed.set_aside) == (b"new", ())


@pytest.mark.parametrize(
    "poison",
    [
        "state = 'dreaming'", "state = NULL", f"state = {NO_UTF8}", "state = x'00'", "reason = x'ff'",
        f"reason = {NO_UTF8}", "body = 'text'", "version = 'x'", "accepted_at = 'x'", "accepted_at = NULL",
        "bot = 'x', reason = NULL",
    ],
)  # fmt: skip
async def test_a_poison_update(path: Path, store: SqliteSessionStore, poison: str) -> None:
    """It is set aside and counted; the mailbox's others go on."""
    for number in (1, 2, 3):
        await store.append(update(number))
    by_hand(path, f'UPDATE updates SET {poison} WHERE "update" = 2')  # noqa: S608 the poison is ours
    chat = await store.read_chat(CHAT)
    assert [one.update for one in chat.open_updates] == [1, 3]
    assert [one.update for one in await store.open_updates(0, 10)] == [1, 3]
    assert (len(chat.set_aside), store.set_aside) == (1, 1)
    assert chat.set_aside[0].file.startswith("updates/")


async def test_texts_with_nul_and_every_plane(store: SqliteSessionStore) -> None:
    """What looks like poison and is text comes back as it was."""
    reason = "a\0b \u200f \U0001f926\u200d\u2642\ufe0f '; DROP TABLE updates; --"
    await store.append(ended(update(1), "quarantined", reason=reason))
    assert [reason] == [one.reason for one in await store.find_updates(["quarantined"], 10)]


@pytest.mark.parametrize(
    "poison", ["attempt = 'x'", "owner = NULL", f"lease = {NO_UTF8}", "renewed_at = NULL"]
)
async def test_a_poison_lease(path: Path, store: SqliteSessionStore, poison: str) -> None:
    """A lease that cannot be read holds nobody up."""
    await store.append(update(1))
    await store.write_lease(CHAT, lease(1))
    by_hand(path, f"UPDATE leases SET {poison}")  # noqa: S608 the poison is ours
    chat = await store.read_chat(CHAT)
    assert (chat.lease, len(chat.open_updates)) == (None, 1)
    assert [f"mailboxes/{CHAT}"] == [one.file for one in chat.set_aside]


@pytest.mark.parametrize(
    "poison",
    ["run_count = 'x'", "success_count = 99", "success_count = -1", "total_duration_ms = 'x'",
     "total_duration_ms = 9e999", "last_run_at = x'00'"],
)  # fmt: skip
async def test_poison_statistics(path: Path, skills: SqliteSkillStatsStore, poison: str) -> None:
    """Counts that no runs can give are set aside; the other skills keep theirs."""
    for name in ("good", "bad"):
        await skills.record_run(SkillRun(skill=name, run="1", succeeded=True, duration_ms=5.0))
    by_hand(path, f"UPDATE skills SET {poison} WHERE name = 'bad'")  # noqa: S608 the poison is ours
    batch = await skills.read_stats(["good", "bad"])
    assert list(batch.stats) == ["good"]
    assert [one.file for one in batch.set_aside] == ["skills/bad"]


async def test_a_clock_that_jumped_back(path: Path, store: SqliteSessionStore) -> None:
    """A lease from the future is an old one: somebody may take the turn."""
    await store.append(update(1))
    await store.write_lease(CHAT, lease(1))
    by_hand(path, "UPDATE leases SET renewed_at = renewed_at + 600")
    held = (await store.read_chat(CHAT)).lease
    assert held is not None
    assert held.age_s > 590


# ---------------------------------------------------------------- expiry


async def test_purge_drops_what_has_expired(store: SqliteSessionStore, skills: SqliteSkillStatsStore) -> None:
    """Ended updates, tombstones and run ids go, at most `limit` a call; open updates and sessions stay."""
    for number in (1, 2):
        await store.append(ended(update(number), "ignored"))
    await store.append(update(3))
    await store.write_session(session(1), "live")
    await store.write_session(session(2, body=b""), "forget")
    await skills.record_run(SkillRun(skill="good", run="1", succeeded=True, duration_ms=5.0))
    assert [await store.purge(3) for _ in range(3)] == [3, 1, 0]
    assert [one.update for one in (await store.read_chat(CHAT)).open_updates] == [3]
    assert [one.chat for one in (await store.read_sessions([1, 2])).sessions] == [1]
    assert (await skills.read_stats(["good"])).stats["good"].run_count == 1


async def test_a_session_that_lives_again_does_not_expire(store: SqliteSessionStore) -> None:
    """Writing over a tombstone takes its expiry away."""
    buried = await store.write_session(session(body=b""), "forget")
    await store.write_session(session(version=buried), "again")
    assert await store.purge(10) == 0


# ---------------------------------------------------------------- looking


async def test_who_looks_reads_and_writes_nothing(path: Path, store: SqliteSessionStore) -> None:
    """A database that is for reading alone reads beside one that writes, and refuses to write."""
    await store.append(update(1))
    looking = SqliteSessionStore(SqliteDatabase(path, read_only=True), CountingMeter())
    assert [1] == [each.update for each in (await looking.read_chat(CHAT)).open_updates]
    with pytest.raises(StoreDenied, match="readonly"):
        await looking.append(update(2))
    await looking.close()


async def test_who_looks_makes_no_file(path: Path) -> None:
    """Where there is no file, looking for one leaves none."""
    looking = SqliteSessionStore(SqliteDatabase(path, read_only=True), CountingMeter())
    with pytest.raises(StoreDenied, match="unable to open"):
        await looking.read_chat(CHAT)
    await looking.close()
    assert [] == list(path.parent.iterdir())
