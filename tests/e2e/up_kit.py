"""A real `firstlight up` in a process of its own, on a copy of the project, and commands run beside it."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from app.cli import cli
from app.settings import ours
from app.targets.note import FOLDER, NAME
from tests import commands
from tests.commands import ROOT, Ran

READY_S = 120.0  # a deploy and five containers on a busy machine
COMMAND_S = 60.0
SECRET = "up-webhook-secret"
NOTHING: dict[str, str | None] = {"FIRSTLIGHT_STORE": None, "MODAL_TOKEN_ID": None, "MODAL_SERVER_URL": None}


async def firstlight(*words: str) -> Ran:
    """Run a command in this process, in the current folder."""
    ended = await asyncio.to_thread(CliRunner().invoke, cli, words, env=NOTHING)
    return Ran(ended.exit_code, ended.stdout, ended.stderr)


class Up:
    """A plane that runs, the folder that it belongs to, and what it has printed so far."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process, output: Path) -> None:
        self.folder, self.process, self._output = folder, process, output

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    async def printed(self, pattern: str) -> str:
        """Wait until a line says so, and give the pattern's first group."""
        async with asyncio.timeout(READY_S):
            while not (found := re.search(pattern, self.output)):
                assert self.process.returncode is None, self.output
                await asyncio.sleep(0.05)
        return found[1]

    async def interrupt(self) -> int:
        """Ctrl-C, and wait for the end; gives the exit code."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(READY_S):
            return await self.process.wait()

    @property
    def note(self) -> dict[str, Any]:
        """What it left for other commands."""
        found: dict[str, Any] = json.loads((self.folder / FOLDER / NAME).read_bytes())
        return found


@asynccontextmanager
async def up(folder: Path, *words: str) -> AsyncIterator[Up]:
    """Run `firstlight up` there until the block ends; nothing is deployed yet when the block begins."""
    output = folder / "up.log"
    with output.open("wb") as sink:
        async with commands.started(
            *(str(Path(sys.executable).with_name("firstlight")), "up", "--port", "0", *words),
            cwd=folder,
            env=without_settings() | {"TELEGRAM_WEBHOOK_SECRET": SECRET},
            stdout=sink,
            stderr=sink,
        ) as process:
            yield Up(folder, process, output)


def copy_project(folder: Path) -> Path:
    """What a deploy reads, so that a test may change it."""
    for name in ("app", "actors", "contracts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("modal_app.py", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    return folder


async def run(
    *command: str, cwd: Path, environ: Mapping[str, str] | None = None, within_s: float = COMMAND_S
) -> Ran:
    """Run a command to its end, with no settings of ours but these."""
    return await commands.run(
        *command, within_s=within_s, cwd=cwd, env=without_settings() | dict(environ or {})
    )


def processes_of(folder: Path) -> list[int]:
    """The processes whose environment names the folder, as a plane's containers' does (Linux)."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _names(entry / "environ", folder)]


def _names(environ: Path, folder: Path) -> bool:
    try:
        return str(folder).encode() in environ.read_bytes()
    except OSError:  # it ended meanwhile, or is not ours
        return False


def without_settings() -> dict[str, str]:
    """This process's, without settings of ours and without an account on Modal."""
    mine, others = ours(), ("COV_CORE_", "MODAL_")
    left = {
        name: value for name, value in os.environ.items() if name not in mine and not name.startswith(others)
    }
    return left | {"MODAL_CONFIG_PATH": os.devnull, "PYTHONPATH": str(ROOT)}
