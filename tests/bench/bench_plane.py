"""What a call through the local control plane costs: Modal's client here, the plane and the container beside it."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import modal
from modal.client import Client
from modal_proto import api_pb2

from tests.bench.kit import Effort, Samples, Table, Values, ratio_between, rounds_on_loop, rows
from tests.bench.processes import ROOT

RATE, P50, DEPLOY = "calls/s", "ms p50", "s"
CPU: Final = ("ms CPU client", "ms CPU plane", "ms CPU container")
ONE, MANY, DEPLOYED = "remote.aio, one caller", "remote.aio, 16 callers", "modal deploy modal_app.py"
LOOKED_UP, THREADS = "remote.aio, 16 callers, method looked up", "remote, 16 threads"
CALLERS: Final = 16
WARMING: Final = 50
ECHO: Final = "echo.py"
APP: Final = """
import modal

app = modal.App("bench")

@app.cls(image=modal.Image.debian_slim(), min_containers=1, max_containers=1)
@modal.concurrent(max_inputs=32)
class Echo:
    @modal.method()
    async def say(self, frame):
        return frame
"""
SECRETS: Final = "[firstlight-store]\n[firstlight-telegram]\n[firstlight-model]\n"


def run(effort: Effort) -> Table:
    """Call an echo in a container, alone and from many callers, and deploy the app itself."""
    samples = asyncio.run(_measure(effort, effort.pick(200, 400), effort.pick(1, 5)))
    gain = ratio_between(samples, MANY, ONE, RATE)
    return Table(
        name="plane",
        title="A remote call through the local control plane (three processes, all on this machine)",
        ratio_of=RATE,
        rows=rows({name: samples[name] for name in (ONE, MANY, LOOKED_UP, THREADS)}, RATE, ONE),
        reading=f"Sixteen callers get {gain:.2f} times as many answers as one; the method is held, as the app holds it."
        f" `{DEPLOYED}` takes {median(values[DEPLOY] for values in samples[DEPLOYED]):.1f} s.",
    )


async def _measure(effort: Effort, calls: int, times: int) -> Samples:
    with tempfile.TemporaryDirectory() as folder, _plane(Path(folder)) as (plane, environ):
        await _deploy(Path(folder, ECHO), environ)
        async with _client(environ) as client:
            echo: Any = modal.Cls.from_name("bench", "Echo", client=client)()
            held: Any = echo.say
            await _metered(lambda: _calls(lambda: held, WARMING, CALLERS), ())
            pids = (os.getpid(), plane, *_children(plane))
            return await rounds_on_loop(
                {
                    ONE: lambda: _metered(lambda: _calls(lambda: held, calls, 1), pids),
                    MANY: lambda: _metered(lambda: _calls(lambda: held, calls, CALLERS), pids),
                    LOOKED_UP: lambda: _metered(lambda: _calls(lambda: echo.say, calls, CALLERS), pids),
                    THREADS: lambda: _metered(lambda: _in_threads(held, calls), pids),
                    DEPLOYED: lambda: _deploy(ROOT / "modal_app.py", environ),
                },
                times,
                effort,
            )


async def _metered(run: Callable[[], Awaitable[list[float]]], pids: Sequence[int]) -> Values:
    """Calls a second, the median of what each took, and the processor's time in each process."""
    before, began = [_cpu_s(pid) for pid in pids], perf_counter()
    took_s = await run()
    lasted_s = perf_counter() - began
    used = [(_cpu_s(pid) - at) * 1000 / len(took_s) for pid, at in zip(pids, before, strict=True)]
    return {RATE: len(took_s) / lasted_s, P50: median(took_s) * 1000} | dict(zip(CPU, used, strict=False))


async def _calls(method: Callable[[], Any], count: int, callers: int) -> list[float]:
    took_s: list[float] = []

    async def call() -> None:
        for _ in range(count // callers):
            began = perf_counter()
            await method().remote.aio(b"frame")
            took_s.append(perf_counter() - began)

    await asyncio.gather(*(call() for _ in range(callers)))
    return took_s


async def _in_threads(held: Any, count: int) -> list[float]:
    def call(_: int) -> float:
        began = perf_counter()
        held.remote(b"frame")
        return perf_counter() - began

    with ThreadPoolExecutor(CALLERS) as pool:
        return await asyncio.to_thread(lambda: list(pool.map(call, range(count))))


def _children(pid: int) -> list[int]:
    """The processes that it started: the plane's are its containers (proc(5))."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_s(pid: int) -> float:
    """All that the process used, of which proc(5) tells hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _deploy(app: Path, environ: dict[str, str]) -> Values:
    began = perf_counter()
    command = (sys.executable, "-m", "modal", "deploy", str(app))
    client = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.DEVNULL)
    assert await client.wait() == 0, "the plane takes the deploy"
    return {DEPLOY: perf_counter() - began}


@contextmanager
def _plane(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """A plane in a process of its own, by its id, and what leads to it; the echo app lies in the folder."""
    secrets = folder / "secrets"
    secrets.write_text(SECRETS)
    (folder / ECHO).write_text(APP)
    command = (
        sys.executable,
        "-m",
        "app.plane",
        "--folder",
        str(folder / "plane"),
        "--secrets",
        str(secrets),
    )
    plane = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield plane.pid, os.environ | {"HOME": str(folder), "PYTHONPATH": str(ROOT)} | _exported(plane)
    finally:
        plane.kill()  # its containers end with it
        plane.communicate()


def _exported(plane: "subprocess.Popen[str]") -> dict[str, str]:
    assert plane.stdout is not None
    variables: dict[str, str] = {}
    for line in plane.stdout:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").strip().partition("=")
            variables[name] = value
        if "NO_PROXY" in variables:
            break
    return variables


@asynccontextmanager
async def _client(environ: dict[str, str]) -> AsyncIterator[Any]:
    token = environ["MODAL_TOKEN_ID"], environ["MODAL_TOKEN_SECRET"]
    async with Client(environ["MODAL_SERVER_URL"], api_pb2.CLIENT_TYPE_CLIENT, token) as client:
        yield client
