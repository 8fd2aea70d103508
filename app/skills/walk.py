"""Finds the skill files below a folder, and what lies beside each."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from app.skills.bounds import ScanBounds
from app.skills.files import FileRefused, is_hidden, problem_of, resolve_inside
from contracts.base import Value
from contracts.skills import SetAside

SKILL_NAMES: Final = ("skill.md", "info.md")
"""Names of skill files in any case, the one that wins first."""

# They hold no skills, thousands of files, and nothing that a skill should show.
_PASSED_OVER: Final = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv"})


class SkillFolder(Value, frozen=True):
    """A folder with at least one skill file; `relative` is posix, `.` for the root itself.

    `candidates` are names of skill files, best first; `resources` are paths relative to the folder, sorted, of what
    may be read by whoever chats: nothing hidden, and nothing of a skill further down.
    """

    path: Path
    relative: str
    candidates: tuple[str, ...]
    resources: list[str]

    def file(self, name: str) -> str:
        """Give the path of `name` in this folder, relative to the root."""
        return _below(self.relative, name)


class AsideList:
    """Files set aside: bounded, because ten thousand bad files must not make an answer too large to send."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[SetAside] = []
        self._more = 0

    def add(self, file: str, reason: str) -> None:
        """Set a file aside, with its path relative to the root."""
        if len(self._kept) < self._limit:
            self._kept.append(SetAside(file=shown(file), reason=shown(reason)))
        else:
            self._more += 1

    def all(self) -> tuple[SetAside, ...]:
        """Give them by file, and one entry that counts those beyond the limit."""
        rest = [SetAside(file=".", reason=f"{self._more} more files were set aside")] if self._more else []
        return (*sorted(self._kept, key=lambda aside: (aside.file, aside.reason)), *rest)


def find_skills(root: Path, bounds: ScanBounds, aside: AsideList) -> list[SkillFolder]:
    """Give the folders with a skill file below `root` (resolved), by path; links to folders are not followed."""
    found = list(_Walk(root, bounds, aside).run())
    for folder in found:
        folder.resources.sort()
    return sorted(found, key=lambda folder: folder.relative)


def shown(text: str) -> str:
    """Give a path or reason as one line that UTF-8 can carry: file names may hold any byte."""
    safe = text.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in safe)


class _Place(Value, frozen=True):
    path: Path
    relative: str
    depth: int
    skill: SkillFolder | None


class _Walk:
    """One walk over the tree, in a stable order, each folder once."""

    def __init__(self, root: Path, bounds: ScanBounds, aside: AsideList) -> None:
        self._root = root
        self._bounds = bounds
        self._aside = aside
        self._entries = 0
        self._full: set[str] = set()
        self._waiting = [_Place(root, ".", 0, None)]

    def run(self) -> Iterator[SkillFolder]:
        while self._waiting:
            place = self._waiting.pop()
            entries = self._entries_of(place)
            self._entries += len(entries)
            if self._entries > self._bounds.entries:
                self._aside.add(place.relative, f"over {self._bounds.entries} files: the rest not searched")
                return
            if skill := self._search(place, entries):
                yield skill

    def _entries_of(self, place: _Place) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(place.path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:  # unreadable, or deleted since its parent was listed
            self._aside.add(place.relative, f"folder not searched: {problem_of(error)}")
            return []

    def _search(self, place: _Place, entries: Sequence[os.DirEntry[str]]) -> SkillFolder | None:
        folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        files = [entry for entry in entries if not entry.is_dir(follow_symlinks=False)]
        candidates = _candidates(files)
        own = SkillFolder(place.path, place.relative, candidates, []) if candidates else None
        for entry in files:
            if entry.name not in candidates:
                self._add_resource(own or place.skill, place, entry)
        self._descend(place, own or place.skill, folders)
        return own

    def _descend(self, place: _Place, skill: SkillFolder | None, folders: Sequence[os.DirEntry[str]]) -> None:
        for entry in reversed(folders):  # the last one pushed is searched first
            if entry.name in _PASSED_OVER:
                continue
            relative = _below(place.relative, entry.name)
            if place.depth >= self._bounds.depth:
                self._aside.add(relative, f"folder not searched: deeper than {self._bounds.depth}")
                continue
            # What is hidden belongs to nobody; a skill in there is one all the same.
            owner = None if is_hidden(Path(entry.name)) else skill
            self._waiting.append(_Place(Path(entry.path), relative, place.depth + 1, owner))

    def _add_resource(self, skill: SkillFolder | None, place: _Place, entry: os.DirEntry[str]) -> None:
        if is_hidden(Path(entry.name)):
            return
        relative = _below(place.relative, entry.name)
        if entry.is_symlink() and not self._is_usable_link(skill, relative, entry):
            return
        if skill is None:
            return
        name = relative if skill.relative == "." else relative.removeprefix(skill.relative + "/")
        if shown(name) != name:
            self._aside.add(relative, "file name that can't be shown: not listed")
        elif len(skill.resources) < self._bounds.resources:
            skill.resources.append(name)
        elif skill.relative not in self._full:
            self._full.add(skill.relative)
            self._aside.add(relative, f"over {self._bounds.resources} files beside one skill: not listed")

    def _is_usable_link(self, skill: SkillFolder | None, relative: str, entry: os.DirEntry[str]) -> bool:
        base = skill.path if skill else self._root
        try:
            target = resolve_inside(Path(entry.path), base)
        except FileRefused as error:
            self._aside.add(relative, f"link that {error}")
            return False
        if skill and is_hidden(target.relative_to(base)):
            self._aside.add(relative, "link to a hidden file: not listed")
            return False
        if target.is_dir():
            self._aside.add(relative, "link to a folder that is searched at its own place: not followed")
            return False
        return True


def _candidates(files: Sequence[os.DirEntry[str]]) -> tuple[str, ...]:
    names = [entry.name for entry in files if entry.name.lower() in SKILL_NAMES]
    return tuple(sorted(names, key=lambda name: (SKILL_NAMES.index(name.lower()), name)))


def _below(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
