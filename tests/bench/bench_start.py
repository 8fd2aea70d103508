"""How long a process takes from its start until it has accepted an update, and until it is warm."""

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.kit import Effort, Row, Table, Values, ratio_between, rounds, rows
from tests.bench.load import Load, requests
from tests.bench.processes import ROOT, serving
from tests.bench.server import SECRET, TOKEN, Wish
from tests.commands import free_port

MS, CPU = "ms to the first 200", "CPU ms until then"
BARE, WITH_MODAL = "bare aiohttp", "bare aiohttp with modal imported"
GATEWAY = "gateway, actors warm: an update accepted"
SERVE, WARM = "firstlight serve: an update accepted", "firstlight serve: /readyz (warm)"
START_S: Final = 20.0  # half a second; more on a busy machine
POLL_S: Final = 0.002  # what a measurement may be too long by
ONE_UPDATE: Final = next(requests(Load(port=0, secret=SECRET, requests=1)))
ARE_YOU_READY: Final = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def run(effort: Effort) -> Table:
    """Start each in turns; the service warms from an empty SQLite file and the bundled skills."""
    python = (sys.executable, "-W", "ignore", "-m")
    firstlight = (str(Path(sys.executable).with_name("firstlight")), "serve", "--port")
    with serving(Wish(kind="telegram")) as telegram:
        starting = partial(_starting, f"http://127.0.0.1:{telegram.port}")
        contenders = {
            BARE: partial(starting, (*python, "tests.bench.bare"), ONE_UPDATE),
            WITH_MODAL: partial(starting, (*python, "tests.bench.bare"), ONE_UPDATE, "modal"),
            GATEWAY: partial(starting, (*python, "tests.bench.gateway"), ONE_UPDATE),
            SERVE: partial(starting, firstlight, ONE_UPDATE),
            WARM: partial(starting, firstlight, ARE_YOU_READY),
        }
        samples = rounds(contenders, effort.pick(3, 11), effort)
    found = rows(samples, MS, {WITH_MODAL: BARE, GATEWAY: WITH_MODAL, SERVE: BARE, WARM: BARE})
    serve, warm, gateway = (_ratio(found, name) for name in (SERVE, WARM, GATEWAY))
    cpu = ratio_between(samples, GATEWAY, WITH_MODAL, CPU)
    return Table(
        name="start",
        title="From the start of a process to its first 200",
        ratio_of=MS,
        rows=found,
        reading=f"The whole service accepts its first update {serve:.1f} times as late as an aiohttp server that can"
        f" do nothing answers its first, and is warm at {warm:.1f}; the next table shows what the difference is made"
        f" of. A gateway's container accepts its first {gateway:.2f} times as late as one answers that only imports"
        f" Modal's client beside aiohttp, for {cpu:.2f} times the CPU.",
    )


def _ratio(found: Sequence[Row], name: str) -> float:
    return next(row.ratio or 0.0 for row in found if row.name == name)


def _starting(telegram: str, command: Sequence[str], request: bytes, *more: str) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        environ = _environ(folder, telegram)
        port, cpu_before_s, started = free_port(), _children_cpu_s(), time.perf_counter()
        process = subprocess.Popen(
            [*command, str(port), *more],
            env=environ,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for_200(port, request)
            spent_ms = (time.perf_counter() - started) * 1000
        finally:
            process.kill()  # what it would do to end is not what is asked
            process.wait(START_S)
        return {MS: spent_ms, CPU: (_children_cpu_s() - cpu_before_s) * 1000}


def _environ(folder: str, telegram: str) -> Mapping[str, str]:
    """As in a container, whose image holds the bytecode: without any, what is measured is a compiler."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {
        "FIRSTLIGHT_STORE": f"sqlite:///{folder}/bench.db",
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_URL": telegram,
    }


def _wait_for_200(port: int, request: bytes) -> None:
    end = time.monotonic() + START_S
    while not _is_200(port, request):
        if time.monotonic() > end:
            raise TimeoutError("the server did not start")
        time.sleep(POLL_S)


def _is_200(port: int, request: bytes) -> bool:
    """Whether it listens, and answers so."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
            connection.sendall(request)
            return connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
