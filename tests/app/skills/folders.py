"""Folders of skill files for a test: written, scanned, and what was found or set aside in them."""

from pathlib import Path

from actors.ports import SkillScan
from app.skills.bounds import ScanBounds
from app.skills.loader import FolderSkillFiles


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write the files below `root`, by relative path."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def skill(name: str, body: str = "# Body\n") -> str:
    """Give the text of a well-formed skill file."""
    return f"---\nname: {name}\ndescription: about {name}\n---\n{body}"


def scan(root: Path, **bounds: int) -> SkillScan:
    """Scan the folder."""
    return FolderSkillFiles(root, ScanBounds(**bounds)).scan_now()


def names(result: SkillScan) -> list[str]:
    """Give the names of the scan's skills."""
    return [each.summary.name for each in result.skills]


def aside(result: SkillScan) -> dict[str, str]:
    """Give the reason of each file set aside."""
    return {each.file: each.reason for each in result.set_aside}
