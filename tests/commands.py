"""Programs that a test starts: each has a deadline, and is ended with all that it has started itself."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]  # the project's
ENDED_S: Final = 10.0  # what was killed is gone in milliseconds; a busy machine is late to tell


class Ran(NamedTuple):
    """What a program did."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """All that it printed, its errors last."""
        return self.stdout + self.stderr

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object that it printed."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


async def run(
    *command: str, within_s: float, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Ran:
    """Run a program to its end, whatever comes of it; raises TimeoutError when it lasts longer."""
    async with started(*command, cwd=cwd, env=env, stdout=PIPE, stderr=PIPE) as process:
        async with asyncio.timeout(within_s):
            stdout, stderr = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


@asynccontextmanager
async def started(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs beside the block and is killed at its end, with its group.

    `options` are those of `asyncio.create_subprocess_exec`. A process that has begun a session of its own has left
    the group, as a plane's containers do: it is its starter's to end.
    """
    process = await asyncio.create_subprocess_exec(*command, **options, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(process.pid, signal.SIGKILL)
        async with asyncio.timeout(ENDED_S):
            await process.communicate()  # unlike `wait`, it empties the pipes, which would stay open


def free_port() -> int:
    """A port of loopback that nobody listens on right now, for a program that can't say which one it took."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def is_alive(pid: int) -> bool:
    """Whether that process runs (Linux); a zombie that nobody has reaped yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
