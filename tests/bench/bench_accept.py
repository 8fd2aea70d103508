"""What it costs to accept an update durably, as a share of the least that aiohttp can do."""

import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Literal

from tests.bench.kit import Effort, Row, Table, Values, rounds, rows
from tests.bench.load import Load
from tests.bench.processes import Server, load, serving
from tests.bench.server import SECRET, Kind, Wish

RATE, CPU = "requests/s", "CPU us/request"
BARE = "bare aiohttp, uvloop"
PARKED = "serve, turns parked, uvloop"
TURNS = "serve with turns, uvloop"
BARE_SLOW, PARKED_SLOW = "bare aiohttp, asyncio", "serve, turns parked, asyncio"
WARM_UP = 640  # requests that nobody counts: ten a connection


def run(effort: Effort) -> Table:
    """Measure the server's rate and its own CPU time, the load coming from another process."""
    requests, turns = effort.pick(2_560, 12_800), effort.pick(512, 2_560)
    contenders = {
        BARE: partial(_accepting, "bare", "uvloop", requests),
        PARKED: partial(_accepting, "parked", "uvloop", requests),
        TURNS: partial(_accepting_with_turns, turns),
        BARE_SLOW: partial(_accepting, "bare", "asyncio", requests),
        PARKED_SLOW: partial(_accepting, "parked", "asyncio", requests),
    }
    samples = rounds(contenders, effort.pick(2, 5), effort)
    against = {PARKED: BARE, TURNS: BARE, PARKED_SLOW: BARE_SLOW}
    found = rows(samples, RATE, against)
    return Table(
        name="accept",
        title="Accepting a Telegram update: 64 connections, SQLite with synchronous=FULL",
        ratio_of=RATE,
        rows=found,
        reading=reading({row.name: row for row in found}),
    )


def reading(found: Mapping[str, Row]) -> str:
    """What the rows of that name say."""
    ours, bare = found[PARKED], found[BARE]
    return (
        f"An update that is durable before it is answered costs {ours.values[CPU] / bare.values[CPU]:.2f} times the"
        f" CPU of an empty answer, and with a core of its own the service accepts {ours.ratio or 0:.2f} of what a bare"
        " handler answers. The row with turns includes all the work of answering: the skill, the commits, the Bot API"
        " calls."
    )


def _accepting(kind: Kind, loop: Literal["uvloop", "asyncio"], requests: int) -> Values:
    with tempfile.TemporaryDirectory() as folder, serving(Wish(kind="telegram")) as telegram:
        wish = Wish(kind=kind, loop=loop, folder=folder, telegram=_url(telegram))
        with serving(wish) as server:
            return _measured(server, requests)


def _accepting_with_turns(requests: int) -> Values:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Wish(kind="telegram")) as telegram,
        serving(Wish(kind="serve", folder=folder, telegram=_url(telegram))) as server,
    ):
        return _measured(server, requests, telegram)


def _measured(server: Server, requests: int, telegram: Server | None = None) -> Values:
    load(Load(port=server.port, secret=SECRET, requests=WARM_UP))
    if telegram is not None:
        telegram.wait_for_messages(WARM_UP)
    before = server.used().cpu_s
    outcome = load(Load(port=server.port, secret=SECRET, requests=requests, first=1 + WARM_UP))
    if telegram is not None:
        telegram.wait_for_messages(WARM_UP + requests)
    assert outcome.refused == 0, "a benchmark of accepting must accept"
    return {
        RATE: requests / outcome.seconds,
        CPU: (server.used().cpu_s - before) / requests * 1e6,
        "p50 ms": outcome.p50_ms,
        "p99 ms": outcome.p99_ms,
    }


def _url(telegram: Server) -> str:
    return f"http://127.0.0.1:{telegram.port}"
