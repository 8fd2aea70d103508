"""A SQLite file that is moved, deleted or replaced while a service works on it."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from actors.stores import StoreDenied, StoreDown
from app.store.sqlite import SqliteDatabase, SqliteSessionStore
from tests.app.store.backends import CountingMeter
from tests.app.store.records import CHAT, update


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteSessionStore]:
    """A store with one update in it."""
    store = SqliteSessionStore(SqliteDatabase(path), CountingMeter())
    await store.append(update(1))
    await store.read_chat(CHAT)
    yield store
    await store.close()


def move(path: Path) -> None:
    """Take the file away."""
    path.rename(path.with_suffix(".away"))


def delete(path: Path) -> None:
    """Delete it."""
    path.unlink()


def move_back(path: Path) -> None:
    """Bring it back."""
    path.with_suffix(".away").rename(path)


def names(path: Path) -> list[str]:
    """What stands where the file stood."""
    return [each.name for each in path.parent.glob(path.name)]


def replace(path: Path) -> None:
    """Put another file into its place, as who restores a backup does."""
    backup = path.with_suffix(".backup")
    backup.write_bytes(path.read_bytes())
    os.replace(backup, path)


@pytest.mark.parametrize("change", [move, delete, replace])
async def test_nothing_is_acknowledged_into_a_file_that_is_gone(
    store: SqliteSessionStore, path: Path, change: Callable[[Path], object]
) -> None:
    """What nobody finds again is not durable; and what is read elsewhere is not taken for what was written."""
    change(path)
    with pytest.raises(StoreDown, match="moved, deleted or replaced"):
        await store.append(update(2))
    with pytest.raises(StoreDown, match="moved, deleted or replaced"):
        await store.read_chat(CHAT)


async def test_a_file_that_is_gone_is_not_made_anew(store: SqliteSessionStore, path: Path) -> None:
    """An empty one in its place would say that all which was accepted never was."""
    delete(path)
    with pytest.raises(StoreDown):
        await store.append(update(2))
    assert [] == names(path)


async def test_a_file_that_is_back_is_worked_on(store: SqliteSessionStore, path: Path) -> None:
    """Whoever moved it by mistake moves it back; Telegram brings again what was refused meanwhile."""
    move(path)
    with pytest.raises(StoreDown):
        await store.append(update(2))
    move_back(path)
    await store.append(update(2))
    found = await store.read_chat(CHAT)
    assert [1, 2] == [each.update for each in found.open_updates]


async def test_a_device_is_no_file(tmp_path: Path) -> None:
    """What is neither file nor folder is refused and left as it is, with its mode."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o666)
    mode = os.stat(pipe).st_mode
    store = SqliteSessionStore(SqliteDatabase(pipe), CountingMeter())
    with pytest.raises(StoreDenied, match="not a regular file"):
        await store.append(update(1))
    await store.close()
    assert mode == os.stat(pipe).st_mode
