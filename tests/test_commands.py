"""The harness for programs: what they did is told whole, and none is left behind."""

import asyncio
import contextlib
import socket
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.commands import Ran, free_port, is_alive, run, started
from tests.waiting import until

PARENT: Final = """
import os, subprocess, sys

child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
with open("making", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename("making", "pids")
"""
SOON_S: Final = 10.0


def python(code: str) -> tuple[str, ...]:
    """A program of that code."""
    return sys.executable, "-S", "-c", code


async def test_a_program_is_told_whole() -> None:
    """Its exit code and what it printed on either side, also where that is no text."""
    code = r"import os; os.write(2, b'failed'); os.write(1, b'said \xff'); raise SystemExit(3)"
    ran = await run(*python(code), within_s=SOON_S)
    assert Ran(3, "said \ufffd", "failed") == ran
    assert "said \ufffdfailed" == ran.output


async def test_a_program_that_lasts_too_long_is_an_error() -> None:
    """And not a test that hangs: the deadline ends it."""
    with pytest.raises(TimeoutError):
        await run(*python("while True: pass"), within_s=0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("then", ["", "child.wait()"], ids=["its child is left", "it waits for its child"])
async def test_what_a_program_has_started_ends_with_it(tmp_path: Path, then: str) -> None:
    """At the deadline its whole group is killed, of which it may have gone before."""
    with contextlib.suppress(TimeoutError):
        async with started(*python(PARENT + then), cwd=tmp_path) as process:
            await until((tmp_path / "pids").exists)
            pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
            assert is_alive(pids[1])
            if not then:
                await process.wait()
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
    await until(lambda: not any(map(is_alive, pids)), SOON_S)


def test_a_free_port_can_be_taken() -> None:
    """Nobody listens there, and whoever asks next may."""
    with socket.create_server(("127.0.0.1", free_port())):
        pass
