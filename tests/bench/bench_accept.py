"""What it costs to accept an update durably, as a share of the least that aiohttp can do."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Final

from msgspec.structs import replace

from tests.bench.kit import Contender, Effort, Samples, Table, Values, one_after_another, ratios, rounds, rows
from tests.bench.load import Load
from tests.bench.processes import Server, load, serving
from tests.bench.server import SECRET, Wish

RATE, CPU = "requests/s", "CPU us/request"
BARE = "bare aiohttp, uvloop"
PARKED = "serve, turns parked, uvloop"
TURNS = "serve with turns, uvloop"
BARE_SLOW, PARKED_SLOW = "bare aiohttp, asyncio", "serve, turns parked, asyncio"
AGAINST: Final = {PARKED: BARE, TURNS: BARE, PARKED_SLOW: BARE_SLOW}
SERVERS: Final = {
    BARE: Wish(kind="bare"),
    PARKED: Wish(kind="parked"),
    TURNS: Wish(kind="serve"),
    BARE_SLOW: Wish(kind="bare", loop="asyncio"),
    PARKED_SLOW: Wish(kind="parked", loop="asyncio"),
}
WARM_UP = 640  # requests that nobody counts: ten a connection


def run(effort: Effort) -> Table:
    """Measure the servers' rates and their own CPU time, the load coming from another process.

    Turns of a few tenths of a second, one server's beside the other's: the same code takes up to twice the CPU from one
    second to the next on a machine that others use, too. Three sets of servers, as each process has its own luck.
    """
    found = one_after_another(_measure(effort) for _ in range(effort.pick(1, 3)))
    return Table(
        name="accept",
        title="Accepting a Telegram update: 64 connections, SQLite with synchronous=FULL",
        ratio_of=RATE,
        rows=rows(found, RATE, AGAINST),
        reading=reading(found),
    )


def reading(found: Samples) -> str:
    """What the rounds say."""
    shares = ratios(found, PARKED, BARE, RATE)
    low, middle, high = quantiles(shares, n=4)
    _, cpu, _ = quantiles(ratios(found, PARKED, BARE, CPU), n=4)
    return (
        f"An update that is durable before it is answered costs {cpu:.2f} times the CPU of an empty answer, and the"
        f" service accepts {middle:.2f} of what a bare handler answers at about the same moment (the median of"
        f" {len(shares)} pairs, half of which are between {low:.2f} and {high:.2f}). The row with turns includes all"
        " the work of answering: the skill, the commits, the Bot API calls."
    )


def _measure(effort: Effort) -> Samples:
    with _contenders(effort) as contenders:
        return rounds(contenders, effort.pick(2, 8), effort)


@contextmanager
def _contenders(effort: Effort) -> Iterator[dict[str, Contender]]:
    """Servers that all live until the end, each with a store of its own."""
    requests, turns = effort.pick(1_280, 5_120), effort.pick(256, 512)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        telegram = stack.enter_context(serving(Wish(kind="telegram")))
        contenders: dict[str, Contender] = {}
        for number, (name, wish) in enumerate(SERVERS.items()):
            own = folder / str(number)
            own.mkdir()
            server = stack.enter_context(serving(replace(wish, folder=str(own), telegram=_url(telegram))))
            if name == TURNS:
                contenders[name] = _Loaded(server, turns, telegram)
            else:
                contenders[name] = _Loaded(server, requests)
        yield contenders


class _Loaded:
    """A server that is sent so many updates a time; with a Bot API, which also waits for their answers there."""

    def __init__(self, server: Server, requests: int, telegram: Server | None = None) -> None:
        self._server, self._requests, self._telegram = server, requests, telegram
        self._sent = 0
        self._send(WARM_UP)

    def __call__(self) -> Values:
        """Its rate and what it used."""
        before = self._server.used().cpu_s
        seconds, values = self._send(self._requests)
        cpu_us = (self._server.used().cpu_s - before) / self._requests * 1e6
        return {RATE: self._requests / seconds, CPU: cpu_us, **values}

    def _send(self, requests: int) -> tuple[float, Values]:
        outcome = load(Load(port=self._server.port, secret=SECRET, requests=requests, first=1 + self._sent))
        assert outcome.refused == 0, "a benchmark of accepting must accept"
        self._sent += requests
        if self._telegram is not None:
            self._telegram.wait_for_messages(self._sent)
        return outcome.seconds, {"p50 ms": outcome.p50_ms, "p99 ms": outcome.p99_ms}


def _url(telegram: Server) -> str:
    return f"http://127.0.0.1:{telegram.port}"
