"""What a container's way to the store tells of the writes that it spoils."""

import asyncio
import random

import pytest

from actors.stores import StoreDown
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger
from app.chaos.store_port import StoreLine
from app.chaos.trace import Trace
from app.chaos.virtual_loop import VirtualLoop, run_virtually
from app.chaos.watched_store import WatchedDatabase, Witness
from tests.app.chaos.test_container import made

CHAT = 1


def test_a_write_that_takes_effect_late_was_lost_then() -> None:
    """Whoever finds its chunk marked may not know that nobody sent it, however long ago its caller gave up."""

    async def main(loop: VirtualLoop) -> str | None:
        trace = Trace(loop.time, None)
        ledger = Ledger(loop.time, trace)
        faults = Faults(random.Random(1), only=("store_late",), intensity=1e9)
        line = StoreLine(WatchedDatabase(loop.time, Witness(ledger, trace)), faults, ledger, random.Random(2))
        ledger.causes.opened(CHAT, "update")
        applied: asyncio.Future[float] = loop.create_future()

        async def work() -> None:
            applied.set_result(loop.time())

        with pytest.raises(StoreDown):
            await line.call(made(loop), "chat:1", work, turn=CHAT)
        return ledger.causes.explain("update", await applied)

    assert "record lost" == run_virtually(main)
