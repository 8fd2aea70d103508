"""The emulator harness: never silent when it is missing, never left behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import emulator as harness
from tests.commands import ROOT
from tests.emulator import EmulatorMissing, find_jar


def pytest_without_emulator(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a test that asks for the emulator, with this project's hooks, where the jar is not to be found."""
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    (folder / "test_it.py").write_text("def test_it(emulator): pass\n")
    missing = {"FIRESTORE_EMULATOR_JAR": "/nonexistent.jar", "FIRSTLIGHT_REQUIRE_EMULATOR": ""}
    bare = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-W", "ignore", "-p", "no:cacheprovider", str(folder)],
        env=os.environ | missing | bare | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_missing_emulator_is_told_loudly(tmp_path: Path) -> None:
    """Skipped tests are counted in a line of their own, with the reason."""
    ended = pytest_without_emulator(tmp_path)
    assert (ended.returncode, "1 EMULATOR TESTS WERE SKIPPED" in ended.stdout) == (0, True)
    assert re.search("FIRESTORE_EMULATOR_JAR names no file|no Java found", ended.stdout)


def test_a_required_emulator_that_is_missing_fails(tmp_path: Path) -> None:
    """With FIRSTLIGHT_REQUIRE_EMULATOR=1 nothing is skipped."""
    assert pytest_without_emulator(tmp_path, FIRSTLIGHT_REQUIRE_EMULATOR="1").returncode == 1


def test_a_named_jar_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong FIRESTORE_EMULATOR_JAR is not silently replaced by another jar."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_JAR", "/nonexistent.jar")
    with pytest.raises(EmulatorMissing):
        find_jar()


def test_the_keeper_ends_its_child_when_its_starter_dies() -> None:
    """However the starter ends, its end of the pipe closes, and the child goes with it."""
    child = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", harness.__file__, *child], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    pid = int(keeper.stdout.readline())
    keeper.stdin.close()
    keeper.wait(10)
    keeper.stdout.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_keeper_ends_with_its_child() -> None:
    """A command that ends by itself ends the keeper, with its exit code."""
    child = [sys.executable, "-c", "raise SystemExit(7)"]
    command = [sys.executable, "-I", "-S", harness.__file__, *child]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as keeper:
        assert keeper.wait(10) == 7
