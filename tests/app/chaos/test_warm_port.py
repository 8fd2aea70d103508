"""A container's way to its shard's warm image fails in the ways of every call to the store."""

import asyncio
import random
from collections import Counter

import pytest

from actors.meter import Meter
from actors.stores import StoreDown
from actors.warm_ports import StoredImage
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger
from app.chaos.memory_database import MemoryDatabase
from app.chaos.memory_store import MemoryWarmStore
from app.chaos.store_port import ShakyWarm, StoreLine
from app.chaos.trace import Trace
from app.chaos.virtual_loop import VirtualLoop, run_virtually
from app.chaos.watched_store import WatchedDatabase, Witness
from tests.app.chaos.test_container import made

NAME = "SessionCacheActor:1"
IMAGE = StoredImage(manifest=b"manifest", blobs=(b"blob",))
ALWAYS = 1e9  # times the rate of a kind


def shaky(loop: VirtualLoop, kind: str, injected: Counter[str]) -> tuple[ShakyWarm, MemoryDatabase]:
    """The port of a container of its own, each call with that fault, and the data behind it."""
    trace = Trace(loop.time, None)
    ledger = Ledger(loop.time, trace)
    database = WatchedDatabase(loop.time, Witness(ledger, trace))
    faults = Faults(random.Random(1), only=(kind,), intensity=ALWAYS)
    faults.injected = injected
    line = StoreLine(database, faults, ledger, random.Random(2))
    return ShakyWarm(line, made(loop), MemoryWarmStore(database, Meter())), database


@pytest.mark.parametrize(
    ("kind", "down", "written"),
    [
        ("store_unavailable", True, False),
        ("store_hang", True, False),
        ("store_reply_lost", True, True),
        ("store_late", True, True),
        ("store_slow", False, True),
        ("store_contention", False, True),
    ],
)
def test_an_image_meets_the_faults_of_every_write(
    kind: str, down: bool, written: bool, injected: Counter[str]
) -> None:
    """Whether its owner hears StoreDown, and whether it was written, are two things; contention is for sessions."""

    async def main(loop: VirtualLoop) -> tuple[bool, bool]:
        warm, database = shaky(loop, kind, injected)
        try:
            await warm.write_image(NAME, IMAGE)
            heard = False
        except StoreDown:
            heard = True
        await asyncio.sleep(60.0)
        return heard, database.read_image(NAME) is not None

    assert (down, written) == run_virtually(main)
    assert int(kind != "store_contention") == injected[kind]


def test_an_image_and_changes_that_can_not_be_read(injected: Counter[str]) -> None:
    """Reading them fails like any reading: never as absent."""

    async def main(loop: VirtualLoop) -> None:
        warm, _ = shaky(loop, "store_unavailable", injected)
        with pytest.raises(StoreDown):
            await warm.read_image(NAME)
        with pytest.raises(StoreDown):
            await warm.changed_sessions(1, 0, 10)

    run_virtually(main)
    assert 2 == injected["store_unavailable"]
