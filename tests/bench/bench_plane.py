"""What a call through the local control plane costs: Modal's client here, the plane and the container beside it."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from time import clock_gettime, perf_counter
from typing import Any, Final

import modal
from modal.client import Client
from modal_proto import api_pb2

from tests.bench.kit import Effort, Row, Samples, Table, Values, ratio_between, rounds_on_loop, rows
from tests.bench.processes import ROOT

RATE, P50, USED = "calls/s", "ms p50", "CPU us/call"
QUARTILE: Final = "calls/s, lower quartile"
OTHERS: Final = "cores busy elsewhere"
OF_EACH: Final = ("CPU us client", "CPU us plane", "CPU us container")
ONE, FEW, MANY = "remote.aio, one caller", "remote.aio, 2 callers", "remote.aio, 16 callers"
LOOKED_UP, THREADS = "remote.aio, 16 callers, method looked up", "remote, 16 threads"
EMPTY: Final = "an empty RPC of the same client, 16 callers"
CALLERS: Final = 16
CORES: Final = 2  # as many callers keep two cores busy without waiting for one another
WARMING: Final = 50
GOAL: Final = 400  # calls a second that the plane is meant to serve
DEPLOYS: Final = 3
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
    """Call an echo in a container, alone and from many callers, in many short rounds; and deploy the app itself."""
    samples, deploy_s = asyncio.run(_measure(effort))
    return Table(
        name="plane",
        title="A remote call through the local control plane (three processes, all on this machine)",
        ratio_of=USED,
        rows=tuple(_with_quartile(row, samples) for row in rows(samples, USED, EMPTY)),
        reading=f"{_reading(samples)} `modal deploy modal_app.py` takes {deploy_s:.1f} s.",
    )


def _reading(samples: Samples) -> str:
    reached = ", ".join(f"{_reached(samples[name])} ({name})" for name in (FEW, MANY, LOOKED_UP, THREADS))
    used, plane = (median(values[measure] for values in samples[MANY]) for measure in (USED, OF_EACH[1]))
    rate, p50 = (median(values[measure] for values in samples[FEW]) for measure in (RATE, P50))
    return (
        f"Rounds with {GOAL} calls a second or more: {reached}. Two callers get {rate:.0f} answers a"
        f" second, half of them within {p50:.1f} ms. A rate is what other work leaves of the machine, the"
        f" processor's time is the call's own: {plane / used:.0%} of it is the plane's, and the rest Modal's client at"
        f" both ends. Two cores can give at most {2e6 / used:,.0f} calls a second. Sixteen callers get"
        f" {ratio_between(samples, MANY, ONE, RATE):.2f} times as many answers as one. The app holds its methods; one"
        " that is looked up each time is a new object of the client's each time, and no RPC."
    )


def _reached(runs: Sequence[Values]) -> str:
    return f"{sum(values[RATE] >= GOAL for values in runs)} of {len(runs)}"


def _with_quartile(row: Row, samples: Samples) -> Row:
    """The rate that three quarters of the rounds reach stands beside the median."""
    rates = [values[RATE] for values in samples[row.name]]
    quartile = quantiles(rates, n=4, method="inclusive")[0]
    return replace(row, values={RATE: row.values[RATE], QUARTILE: quartile} | dict(row.values))


async def _measure(effort: Effort) -> tuple[Samples, float]:
    """The rounds, and how long a deploy takes, in seconds."""
    calls, times = effort.pick(160, 240), effort.pick(2, 12)
    with tempfile.TemporaryDirectory() as folder, _plane(Path(folder)) as (plane, environ):
        await _deploy(Path(folder, ECHO), environ)
        async with _client(environ) as client:
            echo: Any = modal.Cls.from_name("bench", "Echo", client=client)()
            held: Any = echo.say
            await _calls(lambda: held.remote.aio(b"frame"), WARMING * CALLERS, CALLERS)
            pids = (os.getpid(), plane, *_children(plane))
            measured = {
                ONE: lambda: _calls(lambda: held.remote.aio(b"frame"), calls // 2, 1),
                FEW: lambda: _calls(lambda: held.remote.aio(b"frame"), calls, CORES),
                MANY: lambda: _calls(lambda: held.remote.aio(b"frame"), calls, CALLERS),
                LOOKED_UP: lambda: _calls(lambda: echo.say.remote.aio(b"frame"), calls, CALLERS),
                THREADS: lambda: _in_threads(held, calls),
                EMPTY: lambda: _calls(client.hello.aio, calls, CALLERS),
            }
            contenders = {name: _metered(work, pids) for name, work in measured.items()}
            samples = await rounds_on_loop(contenders, times, effort)
        app = ROOT / "modal_app.py"
        return samples, median([await _deploy(app, environ) for _ in range(effort.pick(1, DEPLOYS))])


def _metered(
    run: Callable[[], Awaitable[list[float]]], pids: Sequence[int]
) -> Callable[[], Awaitable[Values]]:
    """Calls a second, the median of what each took, and the processor's time for one, in all and in each process."""

    async def meter() -> Values:
        before, busy_s, began = [_cpu_s(pid) for pid in pids], _busy_s(), perf_counter()
        took_s = await run()
        lasted_s, busy_s = perf_counter() - began, _busy_s() - busy_s
        used_s = [_cpu_s(pid) - at for pid, at in zip(pids, before, strict=True)]
        rates = {RATE: len(took_s) / lasted_s, P50: median(took_s) * 1000}
        each = {
            name: used * 1e6 / len(took_s)
            for name, used in zip((*OF_EACH, USED), (*used_s, sum(used_s)), strict=True)
        }
        return rates | each | {OTHERS: max(0.0, busy_s - sum(used_s)) / lasted_s}

    return meter


async def _calls(ask: Callable[[], Awaitable[Any]], count: int, callers: int) -> list[float]:
    took_s: list[float] = []

    async def call() -> None:
        for _ in range(count // callers):
            began = perf_counter()
            await ask()
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
    """All that the process used, by a clock of its own that any other may read (clock_getcpuclockid(3), on Linux)."""
    return clock_gettime(~pid << 3 | 2)


def _busy_s() -> float:
    """What the whole machine's cores were busy with, or kept from us by its host, in hundredths (proc(5))."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


async def _deploy(app: Path, environ: dict[str, str]) -> float:
    """How long it took, in seconds."""
    began = perf_counter()
    command = (sys.executable, "-m", "modal", "deploy", str(app))
    client = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.DEVNULL)
    assert await client.wait() == 0, "the plane takes the deploy"
    return perf_counter() - began


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
