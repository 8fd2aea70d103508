"""A connection that has rehearsed has done what a first turn does for the first time, and the file is as it was."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from actors.stores import Appended, SkillRun, StoreDenied, StoreDown, TurnWritten
from app.setting_values import SqliteAddress
from app.store import sqlite_changes as changes
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from app.store.sqlite_opening import SqliteStores
from app.store.sqlite_rehearsal import lengthen_log, rehearse
from app.store.sqlite_schema import connect
from app.store.sqlite_warm import SqliteWarmStore
from app.store.sqlite_writer import GroupCommit, nothing
from tests.app.store.backends import CountingMeter
from tests.app.store.records import lease, session, step, update

DAY_S = 86400.0
PAGE_BYTES = 4096  # SQLite's own choice


class Heard:
    """A connection that remembers the statements it was given."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self.statements = connection, set[str]()

    def execute(self, statement: str, *given: Any) -> sqlite3.Cursor:
        self.statements.add(statement)
        return self._connection.execute(statement, *given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_what_a_turn_executes_was_executed_before(tmp_path: Path) -> None:
    """From its acceptance to its end and the count of the skill's run, no statement is new to the connection."""
    heard = Heard(connect(tmp_path / "a.db", durable=True, deadline_s=1.0))
    commit = GroupCommit(lambda: cast(sqlite3.Connection, heard), "a.db", DAY_S, DAY_S)
    commit((nothing,))
    assert [None] == commit((rehearse,))
    rehearsed, heard.statements = heard.statements, set()
    _take_a_turn(commit)
    assert set() == heard.statements - rehearsed
    assert len(heard.statements) > 10
    commit.close()


async def test_a_file_holds_what_it_held(path: Path) -> None:
    """No update, session, lease or run is there that was not, and who asks what has changed hears of nothing."""
    database = SqliteDatabase(path)
    store, warm = SqliteSessionStore(database, CountingMeter()), SqliteWarmStore(database, CountingMeter())
    await store.append(update(1))
    await store.write_session(session(), "one")
    rows, mark = _rows(path), (await warm.changed_sessions(0, 0, 9)).watermark
    await database.write(lengthen_log)
    await database.write(rehearse)
    assert rows == _rows(path)
    assert () == (await warm.changed_sessions(0, mark, 9)).sessions
    await asyncio.gather(store.close(), warm.close())


async def test_its_commit_begins_the_log(path: Path) -> None:
    """The log's header is on disk, so that no first update waits for it."""
    await _made(path)
    log = path.with_name(f"{path.name}-wal")
    database = SqliteDatabase(path)
    await database.open()
    assert 0 == log.stat().st_size
    await database.write(rehearse)
    assert log.stat().st_size > 0
    await database.close()


def test_no_later_commit_makes_the_log_longer(tmp_path: Path) -> None:
    """Turns are written over what stands in it already, until it begins anew; nor does another start lengthen it."""
    log, commit = tmp_path / "a.db-wal", _opened(tmp_path / "a.db")
    assert [None] == commit((lengthen_log,))
    length = log.stat().st_size
    for number in range(1, 41):  # of 20 pages each, at least
        _take_a_turn(commit, number)
    assert [None] == commit((lengthen_log,))
    assert length == log.stat().st_size
    assert length > 40 * 20 * PAGE_BYTES
    commit.close()


async def test_a_start_makes_the_log_long_first(tmp_path: Path) -> None:
    """What the wiring calls a rehearsal is both, each in a commit of its own."""
    stores = SqliteStores(SqliteAddress(tmp_path / "a.db"))
    await stores.open()
    await stores.rehearse()
    assert (tmp_path / "a.db-wal").stat().st_size > 1000 * PAGE_BYTES
    assert 2 == await stores.sessions(CountingMeter()).write_session(session(), "one") - 1
    await stores.close()


def test_a_longer_log_is_all_that_is_left(tmp_path: Path) -> None:
    """The connection's memory is as large as before, the file as short, and the log goes at the end."""
    path, commit = tmp_path / "a.db", _opened(tmp_path / "a.db")
    pages, log = _memory(commit), tmp_path / "a.db-wal"
    assert [None] == commit((lengthen_log,))
    assert pages == _memory(commit)
    assert log.stat().st_size > 1000 * PAGE_BYTES
    commit.close()
    assert path.stat().st_size < 100 * PAGE_BYTES
    assert not log.exists()


def test_a_log_that_finds_no_room_stops_nothing(tmp_path: Path) -> None:
    """A full disk is told as what it is; the connection keeps its memory, and takes what there is room for."""
    commit = _opened(tmp_path / "a.db")
    pages = _memory(commit)
    commit((lambda now: now.connection.execute("PRAGMA max_page_count = 100").fetchall(),))
    (refused,) = commit((lengthen_log,))
    assert isinstance(refused, StoreDown)
    assert "disk is full" in str(refused)
    assert pages == _memory(commit)
    _take_a_turn(commit)
    commit.close()


async def test_what_shares_its_commit_is_stored(path: Path) -> None:
    """An update that comes meanwhile is accepted, numbered after what was before, and is the only one there."""
    database = SqliteDatabase(path)
    store = SqliteSessionStore(database, CountingMeter())
    asked = (store.append(update(1)), database.write(rehearse), store.append(update(2)))
    first, _, second = await asyncio.gather(*asked)
    assert (1, 2) == (first.waiting, second.waiting)
    third = await store.append(update(3))
    assert (True, 3) == (third.created, third.waiting)
    assert first.version < second.version < third.version
    assert [update(number).key for number in (1, 2, 3)] == [
        each.key for each in await store.open_updates(0, 9)
    ]
    await store.close()


async def test_a_rehearsal_that_fails_spoils_nothing(path: Path) -> None:
    """A table that a hand has dropped is told, and the next update is accepted."""
    await _made(path)
    with closing(sqlite3.connect(path)) as file:
        file.execute("DROP TABLE skill_runs")
    database = SqliteDatabase(path)
    store = SqliteSessionStore(database, CountingMeter())
    with pytest.raises(StoreDenied, match="skill_runs"):
        await database.write(rehearse)
    assert (await store.append(update(1))).waiting == 1
    assert [update(1).key] == [each.key for each in await store.open_updates(0, 9)]
    await store.close()


# ---------------------------------------------------------------- helpers


async def _made(path: Path) -> None:
    database = SqliteDatabase(path)
    await database.open()
    await database.close()


def _rows(path: Path) -> dict[str, list[object]]:
    """All but the number of the newest write."""
    with closing(sqlite3.connect(path)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = [name for name in tables if name != "sequence"]
        return {name: file.execute(f'SELECT * FROM "{name}"').fetchall() for name in kept}  # noqa: S608 our own names


def _opened(path: Path) -> GroupCommit:
    """Its log is empty."""
    commit = GroupCommit(lambda: connect(path, durable=True, deadline_s=1.0), str(path), DAY_S, DAY_S)
    commit((nothing,))
    return commit


def _memory(commit: GroupCommit) -> Sequence[object]:
    return commit((lambda now: now.connection.execute("PRAGMA cache_size").fetchall(),))


def _take_a_turn(commit: GroupCommit, number: int = 1) -> None:
    (appended,) = commit((update(number, number),))
    assert isinstance(appended, Appended)
    accepted = msgspec.structs.replace(update(number, number), version=appended.version)
    leased, talk = lease(number), session(number)
    assert [None] == commit((lambda now: changes.write_lease(now, number, leased),))
    (written,) = commit((lambda now: changes.write_turn(now, step(accepted, session=talk, lease=leased)),))
    assert isinstance(written, TurnWritten), written
    run = SkillRun(skill="a", run=str(number), succeeded=True, duration_ms=1.0)
    assert [True] == commit((lambda now: changes.count_run(now, run),))
    ended = msgspec.structs.replace(accepted, state="answered", open=False, version=written.update_version)
    (written,) = commit((lambda now: changes.write_turn(now, step(ended, operation="end")),))
    assert isinstance(written, TurnWritten), written
