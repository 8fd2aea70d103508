"""What a cached session of 20 messages takes of a container's memory."""

import gc
import os
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from actors import session_codec
from actors.cache import Cache
from app.runtime import SystemClock
from tests.bench.kit import Effort, Table, Values, rounds, rows
from tests.bench.sessions import session, size

BYTES: Final = "bytes a session"
RSS: Final = "RSS bytes a session"
STATM: Final = Path("/proc/self/statm")  # proc(5): the second field counts resident pages; Linux only


def run(effort: Effort) -> Table:
    """Fill each holder in a fresh process, by Python's own count and by the system's."""
    count = effort.pick(2_000, 5_000)
    contenders = {name: partial(_in_fresh_process, name, count) for name in HOLDERS}
    found = rows(rounds(contenders, effort.pick(1, 3), effort), BYTES, RAW)
    raw, l1, written, decoded = (row.values[BYTES] for row in found)
    return Table(
        name="memory",
        title=f"Memory for each cached session of 20 messages ({size():,} bytes as msgpack)",
        ratio_of=BYTES,
        rows=found,
        reading=f"L1 adds {l1 - raw:,.0f} bytes to a session's own for its entry and counters."
        f" Bytes that come straight from the encoder hold {written - l1:,.0f} more, which nobody uses;"
        f" decoded sessions would take {decoded / l1:.2f} times as much."
        f" 64 MiB hold {64 * 2**20 / l1:,.0f} such sessions.",
    )


def traced(name: str, count: int) -> float:
    """Fill a holder with `count` sessions; gives the bytes for each by Python's own count."""
    HOLDERS[name](10)  # what is imported and cached on first use is not a session's
    gc.collect()
    tracemalloc.start()
    kept = HOLDERS[name](count)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return used / count


def resident(name: str, count: int) -> float:
    """The same by the system's count, without the tracer's own memory."""
    HOLDERS[name](10)
    before = _resident()
    kept = HOLDERS[name](count)
    grown = _resident() - before
    del kept
    return grown / count


# ---------------------------------------------------------------- holders


def _raw(count: int) -> object:
    return {chat: _stored(chat) for chat in range(count)}


def _read(count: int) -> object:
    return _cached(count, _stored)


def _written(count: int) -> object:
    return _cached(count, lambda chat: session_codec.pack(session(chat)))


def _decoded(count: int) -> object:
    return {chat: session_codec.unpack(_stored(chat)) for chat in range(count)}


def _cached(count: int, body: Callable[[int], bytes]) -> object:
    cache: Cache[int, bytes] = Cache(
        max_bytes=1 << 30, ttl_s=3600, weigh=len, clock=SystemClock(), name="bench"
    )
    for chat in range(count):
        cache.put(chat, body(chat), 1)
    return cache


def _stored(chat: int) -> bytes:
    """A session's bytes as a store gives them: of their own length exactly."""
    return bytes(bytearray(session_codec.pack(session(chat))))


RAW: Final = "a dict of msgpack bytes"
HOLDERS: Final[dict[str, Callable[[int], object]]] = {
    RAW: _raw,
    "L1, as read from a store": _read,
    "L1, as written by a turn": _written,
    "a dict of decoded sessions": _decoded,
}


# ---------------------------------------------------------------- helpers


def _in_fresh_process(name: str, count: int) -> Values:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        values = {BYTES: pool.submit(traced, name, count).result()}
        if STATM.exists():
            values[RSS] = pool.submit(resident, name, count).result()
        return values


def _resident() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
