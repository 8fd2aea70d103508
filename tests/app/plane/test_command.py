"""`python -m app.plane`: what it prints, and that nothing outlives it."""

import asyncio
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from app.plane import Plane
from tests import commands
from tests.app.plane.kit import DEPLOY_S
from tests.commands import is_alive
from tests.modal_double import bare
from tests.waiting import until

pytestmark = pytest.mark.modal

APP = """
import os, subprocess, sys
import modal

app = modal.App("lasting")

@app.cls(image=modal.Image.debian_slim(), min_containers=2, secrets=[modal.Secret.from_name("where")])
class Lasting:
    @modal.enter()
    def start(self):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(os.environ["NOTES"], "a") as file:
            file.write(f"{os.getpid()} {child.pid} {os.environ['HOME']}\\n")
"""


@asynccontextmanager
async def commanded(home: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, running; killed at the end of the block."""
    async with commands.started(
        *(sys.executable, "-m", "app.plane", "--folder", str(home / "my plane"), *arguments),
        env=bare(home) | {"NOTES": str(home / "notes")},
        stdout=PIPE,
        stderr=PIPE,
        limit=1 << 20,
    ) as process:
        yield process


async def exported(process: asyncio.subprocess.Process) -> dict[str, str]:
    """The variables that it tells a shell to set."""
    assert process.stdout is not None
    variables: dict[str, str] = {}
    async with asyncio.timeout(30):
        while "NO_PROXY" not in variables:
            line = (await process.stdout.readline()).decode()
            assert line.startswith("export "), f"no shell can read {line!r}"
            (_, pair) = shlex.split(line)
            name, _, value = pair.partition("=")
            variables[name] = value
    return variables


async def test_containers_and_what_they_started_die_with_a_killed_plane(tmp_path: Path) -> None:
    """SIGKILL leaves it no time to end anything, and still no process is left behind."""
    notes = tmp_path / "notes"
    notes.touch()
    (tmp_path / "lasting.py").write_text(APP)
    async with commanded(tmp_path, "--secret", "where=NOTES") as plane:
        environ = bare(tmp_path) | await exported(plane)
        deploy = (sys.executable, "-m", "modal", "deploy", "lasting.py")
        ran = await commands.run(*deploy, within_s=DEPLOY_S, cwd=tmp_path, env=environ)
        assert 0 == ran.exit_code, ran.output
        await until(lambda: len(notes.read_text().split()) == 6)
        pids = [int(word) for word in notes.read_text().split() if word.isdigit()]
        homes = [Path(word) for word in notes.read_text().split() if not word.isdigit()]
        assert [True] * 4 == [is_alive(pid) for pid in pids]
        plane.send_signal(signal.SIGKILL)
        await until(lambda: not any(is_alive(pid) for pid in pids))
        assert [False] * 4 == [path.exists() for home in homes for path in (home, home.parent)]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--secret", "nothing"), 2, "'nothing' is no secret: write NAME=KEY,KEY"),
        (("--port", "70000"), 2, "'70000' is no port: give a number from 0 to 65535"),
        (("--nope",), 2, "unrecognized arguments: --nope (see --help)"),
        (("--secrets", "/nowhere/secrets"), 1, "/nowhere/secrets: No such file or directory"),
    ],
)
async def test_a_wrong_argument_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    """Without a traceback; wrong usage is told apart from a failure."""
    async with commanded(tmp_path, *arguments) as plane:
        _, error = await plane.communicate()
    assert (code, 1, True) == (plane.returncode, error.decode().count("\n"), told in error.decode())


async def test_a_folder_has_one_plane_at_a_time(tmp_path: Path) -> None:
    """A second one would remove the code of the first one's containers; after its end there may be another."""
    async with Plane(tmp_path):
        with pytest.raises(OSError, match="another plane runs in this folder"):
            await Plane(tmp_path).start()
    async with Plane(tmp_path):
        pass
