"""Breaks a copy of the tree in one place, and runs the test that has to notice it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.commands import ROOT

COPIED: Final = ("actors", "app", "contracts", "tests", "pyproject.toml", "firestore.indexes.json")
RUN_S: Final = 120.0  # a break may leave a test hanging, which its own 60 s end
TESTS_FAILED: Final = 1  # pytest's exit code; 2 and more say that it could not run them


@dataclass(frozen=True, slots=True)
class Break:
    """One deliberate break: in `file`, `before` stands exactly once and becomes `after`; `test` has to fail.

    `test` is a pytest node id; one that runs on the Firestore emulator ends with `[firestore]` or names its file,
    and is none of a simulation, which has a Firestore of its own.
    """

    name: str
    file: str
    before: str
    after: str
    test: str

    @property
    def needs_emulator(self) -> bool:
        """Whether its test is skipped without the Firestore emulator."""
        return "firestore" in self.test and "/chaos/" not in self.test

    def found(self) -> int:
        """How often the text to break stands in the file: 1, or the table is out of date."""
        return (ROOT / self.file).read_text("utf-8").count(self.before)


def copy_tree(folder: Path) -> Path:
    """Copy the sources with their compiled files, whose times stay, so that a run compiles only what is broken."""
    tree = folder / "tree"
    tree.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name)
        else:
            shutil.copy2(source, tree / name)
    return tree


def apply(broken: Break, tree: Path) -> None:
    """Make the break in a copied tree."""
    file = tree / broken.file
    text = file.read_text("utf-8")
    assert text.count(broken.before) == 1, f"{broken.name}: not found exactly once in {broken.file}"
    file.write_text(text.replace(broken.before, broken.after), "utf-8")


def run(tests: Iterable[str], tree: Path) -> subprocess.CompletedProcess[str]:
    """Run tests of a copied tree in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        command,
        cwd=tree,
        env=environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
