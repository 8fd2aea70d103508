"""A warm image goes into a SQLite file between the turns' writes, and leaves nothing behind."""

import asyncio
import sqlite3
from pathlib import Path

import msgspec
import pytest

from actors.stores import VersionConflict
from actors.warm_ports import StoredImage
from app.store.sqlite import SqliteDatabase
from app.store.sqlite_pieces import PIECE, pieces_of
from app.store.sqlite_warm import SqliteWarmStore
from tests.app.store.test_sqlite_files import by_hand

NAME = "SessionCacheActor:0"
LARGE = StoredImage(manifest=b"manifest", blobs=(b"a" * (3 * PIECE + 1), b"", b"b" * PIECE))
LARGE_PIECES = 1 + 4 + 1 + 1


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """What another connection finds."""
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def sql(statement: str, newer: int) -> str:
    """Fill the statement in: the image's name, and a version above the stored one."""
    return statement.replace(":name", f"'{NAME}'").replace(":newer", str(newer))


def over(version: int, *blobs: bytes) -> StoredImage:
    """An image to write over that version."""
    return StoredImage(manifest=b"new", blobs=blobs, version=version)


async def test_each_piece_has_a_commit_of_its_own(database: SqliteDatabase, warm: SqliteWarmStore) -> None:
    """So a turn's write waits for one piece at most: for none that is larger than the bound."""
    await database.open()
    before = database.commits
    await warm.write_image(NAME, LARGE)
    assert LARGE_PIECES + len(("flip", "sweep")) == database.commits - before
    assert max(len(piece.body) for piece in pieces_of(LARGE)) == PIECE


async def test_the_old_image_is_there_until_the_new_one_is_whole(path: Path, warm: SqliteWarmStore) -> None:
    """A reader meets one or the other at every moment of the writing, and the old one's pieces go."""
    version = await warm.write_image(NAME, over(0, b"x" * PIECE * 9))
    writing, seen = (
        asyncio.create_task(warm.write_image(NAME, over(version, b"y" * PIECE * 9))),
        set[tuple[bytes, ...]](),
    )
    while not writing.done():
        found = await warm.read_image(NAME)
        assert found is not None
        seen.add(found.blobs)
    assert seen <= {(b"x" * PIECE * 9,), (b"y" * PIECE * 9,)}
    assert (b"x" * PIECE * 9,) in seen
    assert [(1 + 9,)] == rows(path, "SELECT count(*) FROM warm_pieces")


async def test_what_a_killed_writer_left_goes_with_the_next_image(path: Path, warm: SqliteWarmStore) -> None:
    """Pieces that no head names are never served, and are removed."""
    version = await warm.write_image(NAME, LARGE)
    by_hand(path, sql("INSERT INTO warm_pieces VALUES (:name, 'killed', 0, 0, :newer, x'00')", version + 1))
    assert msgspec.structs.replace(LARGE, version=version) == await warm.read_image(NAME)
    await warm.write_image(NAME, over(version, b"one"))
    assert [(b"new",), (b"one",)] == rows(path, "SELECT body FROM warm_pieces ORDER BY slot")


async def test_who_has_won_sweeps_nothing_of_who_comes_next(path: Path, warm: SqliteWarmStore) -> None:
    """Pieces newer than the stored head are of a writer over that head, who may still win."""
    version = await warm.write_image(NAME, LARGE)
    by_hand(path, sql("INSERT INTO warm_pieces VALUES (:name, 'next', 0, 0, :newer, x'00')", version + 1))
    assert version == await warm.write_image(NAME, LARGE)
    assert [(1,)] == rows(path, "SELECT count(*) FROM warm_pieces WHERE operation = 'next'")


async def test_an_image_in_vain_writes_no_piece(path: Path, warm: SqliteWarmStore) -> None:
    """Over another version than the stored one it is a conflict before anything is written."""
    await warm.write_image(NAME, LARGE)
    with pytest.raises(VersionConflict):
        await warm.write_image(NAME, over(0, b"late"))
    assert [(LARGE_PIECES,)] == rows(path, "SELECT count(*) FROM warm_pieces")


async def test_a_program_that_knows_no_pieces_works_beside_this_one(
    path: Path, warm: SqliteWarmStore
) -> None:
    """What it wrote is read here; it finds an image of here torn; neither's leftovers stay."""
    version = await warm.write_image(NAME, LARGE)
    head = "SELECT version, blobs, manifest FROM warm_images"
    assert [(version, 3, b"")] == rows(path, head)
    by_hand(
        path, sql("INSERT OR REPLACE INTO warm_images VALUES (:name, :newer, 'old', 1, x'6d')", version + 1)
    )
    by_hand(path, sql("INSERT INTO warm_blobs VALUES (:name, 0, x'62')", version + 1))
    old = StoredImage(manifest=b"m", blobs=(b"b",), version=version + 1)
    assert old == await warm.read_image(NAME)
    new = over(version + 1, b"one")
    written = await warm.write_image(NAME, new)
    assert msgspec.structs.replace(new, version=written) == await warm.read_image(NAME)
    assert [(0,)] == rows(path, "SELECT count(*) FROM warm_blobs")
    assert [(2,)] == rows(path, "SELECT count(*) FROM warm_pieces")
