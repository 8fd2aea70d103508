"""A warm image in a SQLite file as pieces: each goes in by a small commit, and one more says that all are in."""

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from actors.stores import VersionConflict
from actors.warm_ports import StoredImage
from app.store.sqlite_writer import Commit
from app.store.warm_images import count_of, set_aside

PIECE: Final = 64 * 1024
"""Bytes of an image that one commit writes or deletes: a turn's write behind it waits for little more than a sync."""

_MANIFEST: Final = -1  # its slot, before the blobs'
_HEAD: Final = "SELECT version, operation, blobs, manifest FROM warm_images WHERE name = ?"
_FLIP: Final = "INSERT OR REPLACE INTO warm_images VALUES (?, ?, ?, ?, x'')"
_PUT: Final = "INSERT OR REPLACE INTO warm_pieces VALUES (?, ?, ?, ?, ?, ?)"
_PIECES: Final = "SELECT slot, body FROM warm_pieces WHERE name = ? AND operation = ? ORDER BY slot, part"
_WHOLE_BLOBS: Final = "SELECT slot, body FROM warm_blobs WHERE name = ?"
_SWEEP: Final = """
    DELETE FROM warm_pieces WHERE rowid = (
        SELECT rowid FROM warm_pieces WHERE name = ? AND operation <> ? AND version < ? LIMIT 1
    )
"""
_SWEEP_BLOBS: Final = """
    DELETE FROM warm_blobs WHERE rowid = (SELECT rowid FROM warm_blobs WHERE name = ? LIMIT 1)
"""


class Piece(NamedTuple):
    """Bytes of the manifest or of a blob, `part` counted within its slot; an empty slot is one empty piece."""

    slot: int
    part: int
    body: bytes


class Head(NamedTuple):
    """Which image is stored: its version, 0 where there is none or that was spoilt, and the operation that wrote it."""

    version: int
    operation: object


def pieces_of(image: StoredImage) -> Iterator[Piece]:
    """Cut manifest and blobs into pieces."""
    for slot, body in enumerate((image.manifest, *image.blobs), _MANIFEST):
        for part, first in enumerate(range(0, max(1, len(body)), PIECE)):
            yield Piece(slot, part, body[first : first + PIECE])


def read_head(connection: sqlite3.Connection, name: str) -> Head:
    """Tell which image is stored."""
    version, operation, *_ = connection.execute(_HEAD, (name,)).fetchone() or (0, None)
    return Head(_version(version), operation)


def read_image(connection: sqlite3.Connection, name: str) -> StoredImage | None:
    """Put the stored image together; a manifest in its row is that of a program that knew no pieces."""
    row = connection.execute(_HEAD, (name,)).fetchone()
    if row is None:
        return None
    version, operation, count, manifest = row
    if manifest == b"":
        slots = _joined(connection.execute(_PIECES, (name, operation)).fetchall())
    else:
        slots = _joined(connection.execute(_WHOLE_BLOBS, (name,)).fetchall()) | {_MANIFEST: manifest}
    if not isinstance(slots.get(_MANIFEST), bytes):
        set_aside(name, "its manifest is no bytes")
    return StoredImage(
        manifest=_bytes(slots.get(_MANIFEST)),
        blobs=tuple(_bytes(slots.get(slot)) for slot in range(count_of(count))),
        version=_version(version),
    )


def put(commit: Commit, name: str, operation: str, piece: Piece) -> None:
    """Write a piece, of an operation of one's own: nobody reads it before the head names that."""
    commit.connection.execute(_PUT, (name, operation, piece.slot, piece.part, commit.version, piece.body))


def flip(commit: Commit, name: str, operation: str, image: StoredImage) -> int:
    """Name the operation whose pieces are in; raises VersionConflict. Programs that know no pieces find it torn."""
    head = read_head(commit.connection, name)
    if head.operation == operation:
        return head.version
    if head.version != image.version:
        raise VersionConflict("image")
    commit.connection.execute(_FLIP, (name, commit.version, operation, len(image.blobs)))
    return commit.version


def sweep(commit: Commit, name: str, head: Head) -> bool:
    """Delete one piece, or whole blob, that this head does not name; gives whether there may be another.

    Pieces newer than the head may be the next one's and stay, and it ends as soon as another head is stored. Older
    ones are of writers who have lost, or were killed.
    """
    if read_head(commit.connection, name) != head:
        return False
    swept = commit.connection.execute(_SWEEP, (name, head.operation, head.version)).rowcount
    return bool(swept or commit.connection.execute(_SWEEP_BLOBS, (name,)).rowcount)


def _joined(rows: list[tuple[object, object]]) -> dict[object, object]:
    """The bytes of each slot, None where a part is spoilt."""
    slots = dict[object, object]()
    for slot, body in rows:
        before = slots.get(slot, b"")
        slots[slot] = before + body if isinstance(before, bytes) and isinstance(body, bytes) else None
    return slots


def _version(stored: object) -> int:
    """A version, 0 where a hand or a fault has spoilt it, so that the next write replaces the row."""
    return stored if isinstance(stored, int) else 0


def _bytes(stored: object) -> bytes:
    return stored if isinstance(stored, bytes) else b""
