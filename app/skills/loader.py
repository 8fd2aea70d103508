"""The folder of skill files: scans it off the event loop, so that one bad file spoils no other."""

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from actors.ports import Recovered, ResourceUnavailable, SkillFile, SkillFiles, SkillScan
from actors.skill_library import skill_key
from app.skills.bounds import ScanBounds
from app.skills.files import FileRefused, is_hidden, problem_of, read_file, resolve_inside, stays_below
from app.skills.parse import ParsedSkill, SkillRefused, digest_of, one_line, parse_skill
from app.skills.walk import AsideList, SkillFolder, find_skills, shown

_ROOT: Final = "."


def bundled_skills() -> Path:
    """Give the folder of the skills that Firstlight brings along."""
    return Path(__file__).parent / "library"


class FolderSkillFiles(SkillFiles):
    """Every `SKILL.md` and `info.md` (any case) at any depth below `root`, one skill a folder."""

    def __init__(self, root: Path, bounds: ScanBounds | None = None) -> None:
        self._root = root
        self._bounds = bounds or ScanBounds()

    async def scan(self) -> SkillScan:
        """Read every skill file in a thread; a root that can't be read is an empty scan with the reason."""
        return await asyncio.to_thread(self.scan_now)

    async def read_resource(self, skill_path: str, resource: str) -> bytes:
        """Read a file below the folder of `skill_path`, none hidden, at most 1 MiB; raises ResourceUnavailable."""
        return await asyncio.to_thread(self._read_resource, skill_path, resource)

    def scan_now(self) -> SkillScan:
        """Scan in this thread: for a command, or a snapshot hook with no loop to keep free."""
        return _Scan(self._root, self._bounds).run()

    def _read_resource(self, skill_path: str, resource: str) -> bytes:
        if not (stays_below(skill_path) and stays_below(resource)):
            raise ResourceUnavailable("the path leaves the skill's folder")
        try:
            folder = resolve_inside((self._root / skill_path).parent, self._root.resolve())
            file = resolve_inside(folder / resource, folder)
            if is_hidden(file.relative_to(folder)):
                raise FileRefused("no file of the skill")
            return read_file(file)
        except (FileRefused, OSError) as error:  # OSError: the root itself
            raise ResourceUnavailable(_reason(error)) from error


class _Scan:
    """One pass over the folder."""

    def __init__(self, root: Path, bounds: ScanBounds) -> None:
        self._given_root = root
        self._bounds = bounds
        self._aside = AsideList(bounds.set_aside)
        self._recovered: list[Recovered] = []
        self._skills: dict[str, SkillFile] = {}
        self._bytes = 0

    def run(self) -> SkillScan:
        try:
            self._root = self._given_root.resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links, before 3.13
            self._aside.add(_ROOT, f"the skills folder can't be read: {_reason(error)}")
            return SkillScan(set_aside=self._aside.all())
        for folder in find_skills(self._root, self._bounds, self._aside):
            self._load_folder(folder)
        skills = sorted(self._skills.values(), key=lambda skill: skill_key(skill.summary.name))
        return SkillScan(skills=tuple(skills), set_aside=self._aside.all(), recovered=tuple(self._recovered))

    def _load_folder(self, folder: SkillFolder) -> None:
        """Load the best candidate that can be read; those after it are set aside."""
        loaded = ""
        for name in folder.candidates:
            file = folder.file(name)
            if loaded:
                self._aside.add(file, f"the folder's skill is {loaded}")
            elif self._load_file(folder, name):
                loaded = name

    def _load_file(self, folder: SkillFolder, name: str) -> bool:
        file = folder.file(name)
        try:
            parsed = self._parse(folder, name, file)
            self._keep(folder, file, parsed)
        except (FileRefused, SkillRefused) as error:
            self._aside.add(file, str(error))
            return False
        return True

    def _parse(self, folder: SkillFolder, name: str, file: str) -> ParsedSkill:
        if shown(file) != file:
            raise SkillRefused("a path that can't be shown")
        if len(self._skills) >= self._bounds.skills:
            raise SkillRefused(f"over {self._bounds.skills} skills")
        raw = read_file(resolve_inside(folder.path / name, self._root))
        self._bytes += len(raw)
        if self._bytes > self._bounds.total_bytes:
            raise SkillRefused(f"over {self._bounds.total_bytes} bytes of skill files")
        return parse_skill(raw, path=file, folder=folder.path.name)

    def _keep(self, folder: SkillFolder, file: str, parsed: ParsedSkill) -> None:
        skill = msgspec.structs.replace(parsed.skill, resources=tuple(folder.resources))
        key = skill_key(skill.summary.name)
        if first := self._skills.get(key):
            raise SkillRefused(f"the name {skill.summary.name!r} belongs to {first.summary.path}")
        self._skills[key] = msgspec.structs.replace(skill, digest=digest_of(skill))
        if parsed.notes:
            reason = "; ".join(note.reason for note in parsed.notes)
            lossy = any(note.lossy for note in parsed.notes)
            self._recovered.append(Recovered(file=file, reason=one_line(reason), lossy=lossy))


def _reason(error: Exception) -> str:
    return problem_of(error) if isinstance(error, OSError) else str(error).partition("\n")[0]
