"""What callers who share a commit may rely on: one another's speed, never one another's faults."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from actors.stores import Appended, StoreDenied, StoreDown, VersionConflict
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from app.store.sqlite_appends import APPENDS_MOST
from app.store.sqlite_writer import FOLD_AFTER, Commit
from tests.app.store.backends import CountingMeter
from tests.app.store.records import CHAT, session, step, update

SHORT_S = 0.2  # far over a commit that is not synced, even on a busy machine


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    """A database that is open, with the deadline that users have."""
    database = SqliteDatabase(path)
    await database.write(lambda commit: None)
    yield database
    await database.close()


@pytest.fixture
async def hurried(path: Path, database: SqliteDatabase) -> AsyncIterator[SqliteDatabase]:
    """The same file with a deadline that tests can wait for, room for three calls, and no wait for the disk."""
    database = SqliteDatabase(path, durable=False, deadline_s=SHORT_S, max_waiting=3)
    await database.write(lambda commit: None)
    yield database
    await database.close()


class Gate:
    """A write that holds the writer's thread until it is opened, as a hung disk does."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, commit: Commit) -> None:
        self.entered.set()
        self._open.wait(10)

    def open(self) -> None:
        """Let the write go on."""
        self._open.set()


async def held(database: SqliteDatabase) -> tuple[Gate, "asyncio.Task[None]"]:
    """Hold the writer's thread, so that what comes next waits together."""
    gate = Gate()
    task = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    return gate, task


def store(database: SqliteDatabase) -> SqliteSessionStore:
    """A store over the database."""
    return SqliteSessionStore(database, CountingMeter())


async def test_callers_share_commits(database: SqliteDatabase) -> None:
    """A hundred appends at once cost one commit, and not a hundred."""
    before = database.commits
    await asyncio.gather(*(database.append(update(n, chat=n)) for n in range(100)))
    assert database.commits - before == 1


async def test_what_waits_for_a_commit_shares_the_next(database: SqliteDatabase) -> None:
    """Calls that come one by one while a commit runs go into one commit after it."""
    gate, task = await held(database)
    before = database.commits
    calls = []
    for number in range(20):
        calls.append(asyncio.create_task(database.append(update(number))))
        await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(task, *calls)
    assert database.commits - before == 2


async def test_a_batch_is_bounded(database: SqliteDatabase) -> None:
    """A thousand appends at once are a few commits, so that no other process waits for all of them."""
    before = database.commits
    await asyncio.gather(*(database.append(update(n)) for n in range(1000)))
    assert database.commits - before == 4


async def test_a_conflict_spoils_no_other(database: SqliteDatabase) -> None:
    """In one commit, the conflict is its caller's alone."""
    sessions = store(database)
    version = await sessions.write_session(session(), "first")
    before = database.commits
    outcomes = await asyncio.gather(
        sessions.append(update(1)),
        sessions.write_session(session(version=version + 100), "late"),
        sessions.write_turn(step(msgspec.structs.replace(update(9), version=1))),
        sessions.write_session(session(version=version, body=b"second"), "second"),
        return_exceptions=True,
    )
    assert [Appended, VersionConflict, VersionConflict, int] == [type(outcome) for outcome in outcomes]
    assert database.commits - before == 1
    chat = await sessions.read_chat(CHAT)
    assert chat.session is not None
    assert (chat.session.body, [one.update for one in chat.open_updates]) == (b"second", [1])


async def test_a_group_is_one_commit(database: SqliteDatabase) -> None:
    """So is one that is larger than a statement, and two that come at once."""
    before = database.commits
    first, second = (tuple(update(n) for n in range(start, start + APPENDS_MOST)) for start in (0, 1))
    groups = await asyncio.gather(database.append_all(first), database.append_all(second[:100]))
    created = [isinstance(one, Appended) and one.created for group in groups for one in group]
    assert [True] * APPENDS_MOST + [False] * 100 == created
    await database.append_all(tuple(update(n) for n in range(APPENDS_MOST, 3 * APPENDS_MOST)))
    assert database.commits - before == 3
    chat = await store(database).read_chat(CHAT)
    assert list(range(3 * APPENDS_MOST)) == [one.update for one in chat.open_updates]


async def test_what_cannot_be_stored_spoils_no_other_of_its_group(database: SqliteDatabase) -> None:
    """Its outcome is an error, and not the group's."""
    bad = msgspec.structs.replace(update(2), chat=2**63)
    outcomes = await store(database).append_all([update(1), bad, update(3)])
    assert [Appended, StoreDenied, Appended] == [type(outcome) for outcome in outcomes]


@pytest.mark.parametrize("field", [{"chat": 2**63}, {"update": -(2**63) - 1}, {"reason": "\ud800"}])
async def test_what_cannot_be_stored_spoils_no_other(
    database: SqliteDatabase, field: dict[str, object]
) -> None:
    """A value that SQLite has no form for is refused; its neighbours are stored."""
    bad = msgspec.structs.replace(update(2), **field)
    records = [update(1), bad, update(3)]
    outcomes = await asyncio.gather(*map(database.append, records), return_exceptions=True)
    assert [Appended, StoreDenied, Appended] == [type(outcome) for outcome in outcomes]
    assert [one.update for one in (await store(database).read_chat(CHAT)).open_updates] == [1, 3]


async def test_what_was_rolled_back_is_told_again(database: SqliteDatabase) -> None:
    """Updates that shared a commit with what can't be stored are new, as they were in nobody's commit before."""

    def spoil(commit: Commit) -> None:
        commit.connection.execute("SELECT ?", (2**63,))

    gate, holding = await held(database)
    batch = (*map(database.append, (update(1), update(2))), database.write(spoil))
    together = asyncio.gather(*batch, return_exceptions=True)
    await asyncio.sleep(0)
    gate.open()
    await holding
    *created, spoilt = await together
    assert [Appended(created=True, version=version, waiting=version - 2) for version in (3, 4)] == created
    assert StoreDenied is type(spoilt)


async def test_a_full_disk_fails_the_whole_batch(database: SqliteDatabase) -> None:
    """Nobody is told that a write happened when the commit did not, and later ones go on."""
    await _let_file_grow_by(database, pages=4)
    records = [update(1), update(2, body=bytes(64_000)), update(3)]
    outcomes = await asyncio.gather(*map(database.append, records), return_exceptions=True)
    assert [StoreDown] * 3 == [type(outcome) for outcome in outcomes]
    await _let_file_grow_by(database, pages=1000)
    assert list((await store(database).read_chat(CHAT)).open_updates) == []
    assert (await database.append(update(2, body=bytes(64_000)))).created


async def _let_file_grow_by(database: SqliteDatabase, pages: int) -> None:
    """Set SQLite's own limit for the size of the file."""

    def limit(commit: Commit) -> None:
        (size,) = commit.connection.execute("PRAGMA page_count").fetchone()
        commit.connection.execute(f"PRAGMA max_page_count = {size + pages}")

    await database.write(limit)


async def test_a_cancelled_caller_breaks_no_batch(database: SqliteDatabase) -> None:
    """The others get their answers; a call cancelled before its commit began leaves no trace."""
    gate, task = await held(database)
    calls = [asyncio.create_task(database.append(update(n))) for n in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    gate.open()
    outcomes = await asyncio.gather(task, *calls, return_exceptions=True)
    assert [None, 1, asyncio.CancelledError, 2] == [
        outcome.waiting if isinstance(outcome, Appended) else outcome and type(outcome)
        for outcome in outcomes
    ]


async def test_a_caller_cancelled_in_its_commit(database: SqliteDatabase) -> None:
    """The commit goes on without it, and the others in it get their answers."""
    gate = Gate()
    calls = [asyncio.create_task(database.write(gate)), asyncio.create_task(database.append(update(1)))]
    await asyncio.to_thread(gate.entered.wait, 10)
    calls[0].cancel()
    gate.open()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, Appended]


async def test_a_hung_disk_meets_the_deadline(hurried: SqliteDatabase) -> None:
    """Callers get StoreDown while the writer hangs; the loop and the reader go on; so does the writer, after."""
    gate, task = await held(hurried)
    waiting = asyncio.create_task(hurried.append(update(1)))
    assert list((await store(hurried).read_chat(CHAT)).open_updates) == []
    for call in (task, waiting):
        with pytest.raises(StoreDown, match=r"no answer within 0\.2 s"):
            await call
    gate.open()
    assert (await hurried.append(update(1))).created


async def test_the_queue_is_bounded(hurried: SqliteDatabase) -> None:
    """Beyond its bound a call fails at once, and room comes back with the answers."""
    gate, task = await held(hurried)
    calls = [asyncio.create_task(hurried.append(update(n))) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(StoreDown, match="3 calls wait already"):
        await calls[2]
    gate.open()
    await asyncio.gather(task, *calls[:2])
    assert (await hurried.append(update(2))).created


async def test_a_locked_database_is_down(hurried: SqliteDatabase, path: Path) -> None:
    """Another process that holds the lock past the deadline makes StoreDown; reads go on."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreDown):
        await hurried.append(update(1))
    assert list((await store(hurried).read_chat(CHAT)).open_updates) == []
    other.execute("ROLLBACK")
    other.close()
    assert (await hurried.append(update(2))).created


async def test_closed_is_down(database: SqliteDatabase) -> None:
    """Closing finishes what waits; a call after it is refused at once."""
    waiting = asyncio.create_task(database.append(update(1)))
    await asyncio.sleep(0)
    await database.close()
    assert (await waiting).created
    with pytest.raises(StoreDown, match="closed"):
        await database.append(update(2))


async def test_the_last_adapter_closes(database: SqliteDatabase) -> None:
    """Adapters share the database; one that closes takes it from no other."""
    first, second = store(database), store(database)
    await first.close()
    await first.close()
    assert (await second.append(update(1))).created
    await second.close()
    with pytest.raises(StoreDown, match="closed"):
        await second.append(update(2))


async def test_a_failed_call_is_metered(database: SqliteDatabase) -> None:
    """A call that left for the database and failed is a call all the same."""
    meter = CountingMeter()
    sessions = SqliteSessionStore(database, meter)
    with pytest.raises(VersionConflict):
        await sessions.write_session(session(version=5), "late")
    with pytest.raises(StoreDenied):
        await sessions.read_chat(2**63)
    assert (meter.writes, meter.reads) == ([0], [0])


async def test_a_great_many_at_once_are_all_appended(database: SqliteDatabase) -> None:
    """Whatever comes in a few turns of the loop is committed, however it falls into transactions."""
    appends: list[asyncio.Task[Appended]] = []
    for start in (1, 201, 401, 651):
        calls = (database.append(update(number, chat=number)) for number in range(start, start + 250))
        appends += [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)
    created = [outcome.created for outcome in await asyncio.gather(*appends)]
    assert (900, 1000) == (sum(created), len(created))


async def test_the_log_is_folded_when_nobody_waits(
    database: SqliteDatabase, path: Path, tmp_path: Path
) -> None:
    """No caller's commit has to bring what others wrote into the file: that is done after the answers."""
    store = SqliteSessionStore(database, CountingMeter())
    for chat in range(1, FOLD_AFTER + 1):
        await store.write_session(session(chat=chat), f"write {chat}")
    folded = 0
    for _ in range(100):
        folded = _without_log(path, tmp_path / "copy.db")
        if folded >= FOLD_AFTER - 1:
            break
        await asyncio.sleep(0.02)
    assert FOLD_AFTER - 1 <= folded


def _without_log(path: Path, copy: Path) -> int:
    """How many sessions the file itself holds; 0 while somebody writes into it."""
    copy.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(copy)) as connection:
        try:
            ((count,),) = connection.execute("SELECT count(*) FROM sessions").fetchall()
        except sqlite3.DatabaseError:
            return 0
    return int(count)
