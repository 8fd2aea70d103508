"""How long a process takes from its start to its first answer, and until it is warm."""

import http.client
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.kit import Effort, Row, Table, Values, rounds, rows
from tests.bench.processes import ROOT, serving
from tests.bench.server import SECRET, TOKEN, Wish
from tests.commands import free_port

MS, CPU = "ms to the first 200", "CPU ms, start to end"
BARE, SERVE, WARM = "bare aiohttp", "firstlight serve, /livez", "firstlight serve, /readyz (warm)"
WITH_MODAL, GATEWAY = "bare aiohttp with modal imported", "gateway, actors warm, /livez"
START_S: Final = 20.0  # half a second; more on a busy machine


def run(effort: Effort) -> Table:
    """Start each in turns; the service warms from an empty SQLite file and the bundled skills."""
    python = (sys.executable, "-W", "ignore", "-m")
    firstlight = (str(Path(sys.executable).with_name("firstlight")), "serve", "--port")
    contenders = {
        BARE: partial(_starting, (*python, "tests.bench.bare"), "/livez"),
        WITH_MODAL: partial(_starting, (*python, "tests.bench.bare"), "/livez", "modal"),
        GATEWAY: partial(_starting, (*python, "tests.bench.gateway"), "/livez"),
        SERVE: partial(_starting, firstlight, "/livez"),
        WARM: partial(_starting, firstlight, "/readyz"),
    }
    samples = rounds(contenders, effort.pick(3, 11), effort)
    found = rows(samples, MS, {WITH_MODAL: BARE, GATEWAY: WITH_MODAL, SERVE: BARE, WARM: BARE})
    serve, warm, gateway = (_ratio(found, name) for name in (SERVE, WARM, GATEWAY))
    return Table(
        name="start",
        title="From the start of a process to its first 200",
        ratio_of=MS,
        rows=found,
        reading=f"The whole service answers {serve:.1f} times as late as an aiohttp server that can do"
        f" nothing, and is warm at {warm:.1f}; the next table shows what the difference is made of. A gateway's"
        f" container answers {gateway:.2f} times as late as one that only imports Modal's client beside aiohttp.",
    )


def _ratio(found: Sequence[Row], name: str) -> float:
    return next(row.ratio or 0.0 for row in found if row.name == name)


def _starting(command: Sequence[str], path: str, *more: str) -> Values:
    with tempfile.TemporaryDirectory() as folder, serving(Wish(kind="telegram")) as telegram:
        environ = _environ(folder, f"http://127.0.0.1:{telegram.port}")
        port, cpu_before, started = free_port(), _children_cpu_s(), time.perf_counter()
        process = subprocess.Popen(
            [*command, str(port), *more],
            env=environ,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for_200(port, path)
            spent_ms = (time.perf_counter() - started) * 1000
        finally:
            process.terminate()
            process.wait(START_S)
        return {MS: spent_ms, CPU: (_children_cpu_s() - cpu_before) * 1000}


def _environ(folder: str, telegram: str) -> Mapping[str, str]:
    return os.environ | {
        "FIRSTLIGHT_STORE": f"sqlite:///{folder}/bench.db",
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_URL": telegram,
    }


def _wait_for_200(port: int, path: str) -> None:
    end = time.monotonic() + START_S
    while not _is_200(port, path):
        if time.monotonic() > end:
            raise TimeoutError("the server did not start")
        time.sleep(0.002)


def _is_200(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
