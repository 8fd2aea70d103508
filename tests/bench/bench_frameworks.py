"""What it costs to take a Telegram update in: durably here, not at all durably in the frameworks that others use."""

import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Final

from tests.bench.bench_accept import CPU, RATE, WARM_UP
from tests.bench.kit import Effort, Row, Table, Values, rounds, rows
from tests.bench.load import Load
from tests.bench.processes import Server, load, serving, serving_module
from tests.bench.server import SECRET, Wish

BARE, OURS = "bare aiohttp, nothing durable", "firstlight, durable (turns parked)"
OTHERS: Final = {
    "FastAPI, nothing durable": ("fastapi", ("fastapi", "uvicorn")),
    "python-telegram-bot, nothing durable": ("python-telegram-bot", ("telegram", "starlette", "uvicorn")),
    "aiogram, nothing durable": ("aiogram", ("aiogram",)),
}
"""Contenders by the server's name, and the packages without which they are left out."""


def run(effort: Effort) -> Table:
    """Measure each server's own CPU and rate, the load coming from another process."""
    requests = effort.pick(1_280, 6_400)
    contenders = {BARE: partial(_bare, requests), OURS: partial(_ours, requests)}
    for name, (server, packages) in OTHERS.items():
        if all(map(find_spec, packages)):
            contenders[name] = partial(_other, server, requests)
        else:
            effort.step(f"{name} left out: not installed")
    samples = rounds(contenders, effort.pick(2, 5), effort)
    found = rows(samples, CPU, BARE)
    return Table(
        name="frameworks",
        title="Taking a Telegram update in, beside frameworks that write nothing down (64 connections)",
        ratio_of=CPU,
        rows=found,
        reading=reading(found),
    )


def reading(found: Sequence[Row]) -> str:
    """What the rows say, all beside the empty answer."""
    costs = {row.name: f"{row.ratio or 0:.1f} times" for row in found}
    others = "".join(f", {name.partition(',')[0]} {costs[name]}" for name in OTHERS if name in costs)
    text = f"To accept an update durably takes {costs[OURS]} the CPU of an empty answer"
    return f"{text}; writing nothing down{others}." if others else f"{text}."


def _bare(requests: int) -> Values:
    with serving(Wish(kind="bare")) as server:
        return _measured(server, requests)


def _ours(requests: int) -> Values:
    with tempfile.TemporaryDirectory() as folder, serving(Wish(kind="telegram")) as telegram:
        wish = Wish(kind="parked", folder=folder, telegram=f"http://127.0.0.1:{telegram.port}")
        with serving(wish) as server:
            return _measured(server, requests)


def _other(name: str, requests: int) -> Values:
    with serving_module("tests.bench.frameworks", name) as server:
        return _measured(server, requests)


def _measured(server: Server, requests: int) -> Values:
    load(Load(port=server.port, secret=SECRET, requests=WARM_UP))
    before = server.used().cpu_s
    outcome = load(Load(port=server.port, secret=SECRET, requests=requests, first=1 + WARM_UP))
    assert outcome.refused == 0, "a benchmark of accepting must accept"
    cpu_us = (server.used().cpu_s - before) / requests * 1e6
    return {CPU: cpu_us, RATE: requests / outcome.seconds, "p50 ms": outcome.p50_ms, "p99 ms": outcome.p99_ms}
