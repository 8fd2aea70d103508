"""The note of a plane: kept to its owner, found again, and seen to be stale."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from app.targets.note import NAME, PlaneNote, UnreadableNote, is_alive, read_note, remove_note, write_note


def note(url: str = "http://127.0.0.1:1", pid: int = 0) -> PlaneNote:
    """The note of a plane at that address, of this process if no other is named."""
    environment = {"MODAL_SERVER_URL": url, "MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}
    return PlaneNote(pid=pid or os.getpid(), environment=environment, app_name="app", shards=2)


@pytest.fixture
async def listening() -> AsyncIterator[str]:
    """The address of something on this machine that takes connections."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def gone_pid() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_note_is_read_as_it_was_written_by_its_owner_only(tmp_path: Path) -> None:
    """It holds a token; and git does not see the folder."""
    folder = tmp_path / "notes"
    path = write_note(note(), folder)
    assert note() == read_note(folder)
    assert 0o600 == path.stat().st_mode & 0o777
    assert "*\n" == (folder / ".gitignore").read_text()


def test_no_note_is_no_error(tmp_path: Path) -> None:
    """Most folders have none."""
    assert read_note(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"pid": 1}',
        b"\xff",
        b"[" * 100_000,
        b'{"pid":1,"environment":{},"app_name":"a","shards":1}',
    ],
)
def test_a_note_without_sense_says_which_file_to_delete(tmp_path: Path, content: bytes) -> None:
    """Whoever edited it, or another version, left it so."""
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UnreadableNote, match=r"plane\.json can't be read"):
        read_note(tmp_path)


def test_only_ones_own_note_is_taken_away(tmp_path: Path) -> None:
    """A plane that ends late leaves its successor's note alone."""
    write_note(note(), tmp_path)
    remove_note(os.getpid() + 1, tmp_path)
    assert read_note(tmp_path) is not None
    remove_note(os.getpid(), tmp_path)
    assert read_note(tmp_path) is None


async def test_a_plane_lives_while_its_process_runs_and_listens(listening: str) -> None:
    """Either alone may be an accident: a number given anew, or a port."""
    assert await is_alive(note(listening))
    assert not await is_alive(note(listening, pid=gone_pid()))
    assert not await is_alive(note("http://127.0.0.1:1"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "nonsense", "http://"])
async def test_an_address_that_is_none_is_no_plane(url: str) -> None:
    """It is said to be gone, not a traceback."""
    assert not await is_alive(msgspec.structs.replace(note(), environment={"MODAL_SERVER_URL": url}))
