"""The app with other releases of Modal's client: the newest of its two newest minor versions."""

import os
import re
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests import commands
from tests.commands import ROOT

INSTALL_S: Final = 600.0  # from a package index, which may be far away
CHECK_S: Final = 300.0
FIRST: Final = (1, 5, 1)  # the first with `@app.server`
MINORS: Final = 2
INDEX: Final = re.compile(r"Available versions: (?P<versions>[^\n]+)")
CHECKED: Final = (
    "tests/e2e/plane/test_app.py",
    "tests/app/plane/test_kills.py",
    "tests/e2e/test_smoke.py",
)
BORROW: Final = """
import pathlib, sys, sysconfig
import modal

pathlib.Path(sysconfig.get_path("purelib"), "borrowed.pth").write_text(sys.argv[1])
print(modal.__version__)
"""
"""Has an environment find what it has not in another one's packages, and tells which client it has itself."""

Version = tuple[int, ...]


@pytest.mark.soak
@pytest.mark.modal
@pytest.mark.timeout(2 * (INSTALL_S + CHECK_S))  # a download for each release, then the tests of some 30 s
async def test_the_newest_releases_of_two_minor_versions_deploy_warm_and_answer(tmp_path: Path) -> None:
    """Deploys, `.warm.remote()`, webhooks and calls under kills: each release is client, plane and containers."""
    releases = newest_of_minors(await _released())
    assert MINORS == len(releases)
    for number in releases:
        version = ".".join(map(str, number))
        python = await _environment(tmp_path / version, version)
        code, output = await _run(CHECK_S, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKED)
        assert 0 == code, f"modal {version}:\n{output[-30_000:]}"
        sys.stdout.write(f"modal {version}: {output.strip().splitlines()[-1]}\n")


def test_the_newest_of_each_minor_version_is_chosen_by_number() -> None:
    """Not by text, which puts 10 before 9; what is no plain release, or is older than we support, is left out."""
    released = ["1.10.0", "1.9.12", "1.9.9", "1.8.5", "1.11.0rc1", "1.3.0.post1", "0.99.0"]
    assert [(1, 9, 12), (1, 10, 0)] == newest_of_minors(released)
    assert [(1, 5, 1)] == newest_of_minors(["1.5.1", "1.5.0", "1.4.3"])


def newest_of_minors(released: Sequence[str]) -> list[Version]:
    """The newest release of each of the newest minor versions, oldest first."""
    plain = [tuple(map(int, text.split("."))) for text in released if re.fullmatch(r"\d+\.\d+\.\d+", text)]
    newest = {number[:2]: number for number in sorted(plain) if number >= FIRST}
    return list(newest.values())[-MINORS:]


# ---------------------------------------------------------------- helpers


async def _released() -> list[str]:
    """The releases that the configured package index has."""
    code, output = await _run(INSTALL_S, sys.executable, "-m", "pip", "index", "versions", "modal")
    found = INDEX.search(output)
    if code or found is None:
        pytest.skip(f"MODAL'S VERSIONS WERE NOT TESTED, the package index gave none: {output.strip()[-300:]}")
    return [text.strip() for text in found["versions"].split(",")]


async def _environment(folder: Path, version: str) -> str:
    """An interpreter with that release and what it asks for; everything else it has from this one's packages."""
    venv.create(folder, with_pip=True, symlinks=True)
    python = str(folder / "bin" / "python")
    code, output = await _run(INSTALL_S, python, "-m", "pip", "install", "-q", f"modal=={version}")
    if code:
        pytest.skip(f"MODAL {version} WAS NOT TESTED, it can't be installed: {output.strip()[-300:]}")
    code, output = await _run(CHECK_S, python, "-c", BORROW, sysconfig.get_path("purelib"))
    assert (0, version) == (code, output.strip())
    return python


async def _run(within_s: float, *command: str) -> tuple[int, str]:
    """Run a program in the project's root, and give its exit code and what it prints."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = await commands.run(*command, within_s=within_s, cwd=ROOT, env=environ)
    return ran.exit_code, ran.output
