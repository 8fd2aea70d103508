"""Knows the file again that was opened: SQLite goes on writing into one that nobody will find."""

import os
from pathlib import Path

from actors.stores import StoreDown


class OpenedFile:
    """The file that stood at `path` when a process opened it; used by its writer and its reader."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: tuple[int, int] | None = None

    def note(self) -> None:
        """Remember the file that was just opened, if it is the first; raises what `check` raises."""
        self._opened = self._opened or self._there()
        self.check()

    def check(self) -> None:
        """Raise StoreDown if another file, or none, stands there by now; two microseconds.

        What is in memory belongs to the file that was opened, so that no other one is opened in its place.
        """
        if self._opened is not None and self._there() != self._opened:
            raise StoreDown(
                f"sqlite {self._path}: moved, deleted or replaced while in use: put it back, or restart"
            )

    def _there(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:  # gone, or its folder can't be looked into: not surely the one that was opened
            return None
        return found.st_dev, found.st_ino
