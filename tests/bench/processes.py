"""The benchmarks' side of their servers and their load: programs that end with the block that started them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.load import Load, Outcome
from tests.bench.server import Used, Wish

STOP_S: Final = 30.0  # a service waits for its turns to end, each step with a deadline of its own
LOAD_S: Final = 60.0  # some seconds; more means that nothing moves
ROOT: Final = Path(__file__).parents[2]


class Server:
    """A server that listens on `port` of loopback."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line())

    def used(self) -> Used:
        """What it has used since its start."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._line(), type=Used)

    def wait_for_messages(self, count: int) -> None:
        """Wait until it has taken so many; raises TimeoutError."""
        end = time.monotonic() + LOAD_S
        while self.used().messages < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.used().messages} of {count} messages came")
            time.sleep(0.05)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server has ended")
        return line


@contextmanager
def serving(wish: Wish) -> Iterator[Server]:
    """Start the server, and end it with the block."""
    with serving_module("tests.bench.server", msgspec.json.encode(wish).decode()) as server:
        yield server


@contextmanager
def serving_module(module: str, *arguments: str) -> Iterator[Server]:
    """Start a module that tells its port and its use as the servers of `tests.bench.server` do."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    try:
        yield Server(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(STOP_S)
    finally:
        process.kill()
        process.wait()


def load(wish: Load) -> Outcome:
    """Send the load from a process of its own; raises CalledProcessError when answers are missing."""
    command = [sys.executable, "-m", "tests.bench.load", msgspec.json.encode(wish).decode()]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=LOAD_S, cwd=ROOT)
    return msgspec.json.decode(done.stdout, type=Outcome)
