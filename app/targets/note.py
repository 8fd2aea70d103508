"""The note that `firstlight up` leaves in its folder, so that other commands find its plane."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from contracts.base import Value

FOLDER: Final = Path(".firstlight")  # below the current folder, kept out of git by a file of its own
NAME: Final = "plane.json"
CONNECT_S: Final = 1.0  # to an address of this machine


class PlaneNote(Value, frozen=True, kw_only=True):
    """A plane that was begun here: what Modal's client needs to reach it, and what was deployed to it."""

    pid: int
    environment: Mapping[str, str]
    app_name: str
    shards: int
    store: str = ""

    @property
    def url(self) -> str:
        """Where Modal's client asks it."""
        return self.environment["MODAL_SERVER_URL"]


class UnreadableNote(Exception):
    """There is a note and it makes no sense; one line."""


def write_note(note: PlaneNote, folder: Path = FOLDER) -> Path:
    """Leave the note, readable by its owner only: it opens the plane. Replaces an older one at once."""
    private_folder(folder)
    path = folder / NAME
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(note)))
    return fresh.replace(path)


def read_note(folder: Path = FOLDER) -> PlaneNote | None:
    """The note, None if there is none; raises UnreadableNote."""
    path = folder / NAME
    try:
        note = msgspec.json.decode(path.read_bytes(), type=PlaneNote)
        urlsplit(note.url)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise UnreadableNote(f"{path} can't be read ({error}): delete it") from None
    return note


def remove_note(pid: int, folder: Path = FOLDER) -> None:
    """Take the note of that process away, never another's."""
    try:
        note = read_note(folder)
    except UnreadableNote:
        return
    if note is not None and note.pid == pid:
        (folder / NAME).unlink(missing_ok=True)


async def is_alive(note: PlaneNote) -> bool:
    """Whether the process still runs and its plane takes connections: both, as either number may be given anew."""
    return _runs(note.pid) and await _listens(note.url)


def private_folder(folder: Path) -> None:
    """Make the folder; git leaves alone what is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


# ---------------------------------------------------------------- helpers


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # it is somebody else's
    except (ProcessLookupError, OverflowError):
        return False
    return True


async def _listens(url: str) -> bool:
    at = urlsplit(url)
    try:
        async with asyncio.timeout(CONNECT_S):
            _reader, writer = await asyncio.open_connection(at.hostname, at.port)
    except (OSError, TimeoutError, ValueError):  # ValueError: a port that is none
        return False
    writer.close()
    return True
