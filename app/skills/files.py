"""Reads one bounded regular file that can't lead out of its folder, block, or change unseen."""

import os
import stat
from pathlib import Path, PurePath, PureWindowsPath
from typing import Final

from app.skills.bounds import MAX_FILE_BYTES

# O_NONBLOCK: opening a FIFO must not wait for its writer. O_NOFOLLOW: links were resolved before.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)

_TRIES: Final = 2
"""A file that changes under both reads is being written: the next scan will find it whole."""


class FileRefused(Exception):
    """The file can't be read; the message is the one-line reason, without a path."""


def read_file(path: Path) -> bytes:
    """Give the file's bytes, at most MAX_FILE_BYTES; `path` is resolved. Raises FileRefused."""
    for _ in range(_TRIES):
        content = _read_once(path)
        if content is not None:
            return content
    raise FileRefused("changed while it was read")


def resolve_inside(path: Path, folder: Path) -> Path:
    """Follow all links of `path`; raises FileRefused if it leads nowhere or out of `folder` (resolved)."""
    try:
        target = path.resolve(strict=True)
    except FileNotFoundError as error:
        raise FileRefused("leads nowhere") from error
    except (OSError, RuntimeError, ValueError) as error:  # Runtime: a circle, before 3.13; Value: a NUL
        raise FileRefused("leads in a circle or nowhere") from error
    if not target.is_relative_to(folder):
        raise FileRefused(f"leads out of {folder.name!r}")
    return target


def stays_below(relative: str) -> bool:
    """Whether a relative path, read with either system's rules, names something below its base."""
    path = PureWindowsPath(relative)
    return bool(path.parts) and not path.anchor and ".." not in path.parts and "\0" not in relative


def is_hidden(relative: PurePath) -> bool:
    """Whether a part begins with a dot: settings, keys and version control are no part of a skill."""
    return any(part.startswith(".") for part in relative.parts)


def problem_of(error: OSError) -> str:
    """Give the system's words for the error, without the path."""
    return (error.strerror or type(error).__name__).lower()


def _read_once(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise FileRefused(problem_of(error)) from error
    try:
        return _read_open(descriptor)
    except OSError as error:
        raise FileRefused(problem_of(error)) from error
    finally:
        os.close(descriptor)


def _read_open(descriptor: int) -> bytes | None:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise FileRefused("not a regular file")
    if before.st_size > MAX_FILE_BYTES:
        raise FileRefused(f"{before.st_size} bytes, the limit is {MAX_FILE_BYTES}")
    content = _read_all(descriptor)
    after = os.fstat(descriptor)
    same = (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, len(content))
    return content if same else None


def _read_all(descriptor: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while size <= MAX_FILE_BYTES and (chunk := os.read(descriptor, MAX_FILE_BYTES + 1)):
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)
