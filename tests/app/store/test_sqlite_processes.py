"""Several processes on one SQLite file, and processes killed at work."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from subprocess import PIPE

import pytest

from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from tests.app.store.backends import CountingMeter
from tests.app.store.records import CHAT
from tests.commands import ROOT, run, started

WORK_S = 50.0  # below the limit of one test; it takes a second
ROUNDS = 5
ACKNOWLEDGED_A_ROUND = 40


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteSessionStore]:
    """A store of this process over the same file; it opens it with its first call."""
    store = SqliteSessionStore(SqliteDatabase(path), CountingMeter())
    yield store
    await store.close()


def child(work: str, path: Path, first: int) -> tuple[str, ...]:
    """A program that works on the file."""
    return sys.executable, "-m", "tests.app.store.sqlite_child", work, str(path), str(first)


async def count_at_once(path: Path, firsts: Iterable[int]) -> None:
    """Have processes work on the file beside each other, one for each number; all of them must succeed."""
    works = (run(*child("count", path, first), within_s=WORK_S, cwd=ROOT) for first in firsts)
    assert {(0, "")} == {(ran.exit_code, ran.stderr) for ran in await asyncio.gather(*works)}


@pytest.mark.slow
async def test_processes_share_a_new_file(path: Path, store: SqliteSessionStore) -> None:
    """Three processes make the tables at once, append and compare-and-set: nothing is lost or doubled."""
    await count_at_once(path, (0, 1000, 2000))
    chat = await store.read_chat(CHAT)
    assert chat.session is not None
    assert int(chat.session.body) == 3 * 25
    assert {1000 * n + m for n in range(3) for m in range(40)} == {one.update for one in chat.open_updates}
    versions = [one.version for one in chat.open_updates]
    assert sorted(set(versions)) == versions


@pytest.mark.slow
async def test_kill_9_loses_nothing_acknowledged(path: Path, store: SqliteSessionStore) -> None:
    """Whatever was acknowledged before the kill is there after it, and the next process goes on."""
    acknowledged: set[int] = set()
    for round_ in range(ROUNDS):
        acknowledged |= await _killed_at_work(path, first=100_000 * round_)
    kept = {one.update for one in await store.open_updates(0, 1_000_000)}
    assert len(acknowledged) >= ROUNDS * ACKNOWLEDGED_A_ROUND
    assert set() == acknowledged - kept


async def _killed_at_work(path: Path, first: int) -> set[int]:
    """Let a process append for a while, kill it, and give what it had said to be done."""
    async with started(*child("append", path, first), cwd=ROOT, stdout=PIPE) as process:
        assert process.stdout is not None
        said = [await process.stdout.readline() for _ in range(ACKNOWLEDGED_A_ROUND)]
        process.kill()
        said += (await process.stdout.read()).splitlines(keepends=True)
    return {int(line) for line in said if line.endswith(b"\n")}
