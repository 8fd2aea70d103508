"""What takes effect after its caller gave up is known to the checks then, however long ago that was."""

import asyncio
import random
from typing import Any

import pytest

from actors.actor import Actor
from actors.ports import Unreachable
from actors.stores import StoreDown
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger
from app.chaos.network import ASK_S, Network, Place, Pool
from app.chaos.store_port import StoreLine
from app.chaos.trace import Trace
from app.chaos.virtual_loop import VirtualLoop, run_virtually
from app.chaos.watched_store import WatchedDatabase, Witness
from contracts.codec import encode
from contracts.sessions import CommitTurn, TurnCommitted
from contracts.warming import ActorStats
from tests.app.chaos.test_container import made

CHAT = 1
COMMIT = encode(CommitTurn(chat=CHAT, bot=7, update=1, lease="lease"))


class Committer(Actor[Any]):
    """Takes a commit, and remembers when it did."""

    def __init__(self, committed: "asyncio.Future[float]") -> None:
        self._committed = committed

    async def ask(self, frame: bytes) -> bytes:
        """Commit at once."""
        self._committed.set_result(asyncio.get_running_loop().time())
        return encode(TurnCommitted())

    async def answer(self, request: Any) -> TurnCommitted:
        """Not used: frames are answered above."""
        raise AssertionError(request)

    def statistics(self) -> ActorStats:
        """Nobody asks for them."""
        raise AssertionError


def test_a_write_that_takes_effect_late_was_lost_then() -> None:
    """Whoever finds its chunk marked can't know that nobody sent it."""

    async def main(loop: VirtualLoop) -> str | None:
        ledger, trace = _watched(loop)
        faults = Faults(random.Random(1), only=("store_late",), intensity=1e9)
        database = WatchedDatabase(loop.time, Witness(ledger, trace))
        line = StoreLine(database, faults, ledger, random.Random(2))
        applied: asyncio.Future[float] = loop.create_future()

        async def work() -> None:
            applied.set_result(loop.time())

        with pytest.raises(StoreDown):
            await line.call(made(loop), "chat:1", work, turn=CHAT)
        return ledger.causes.explain("update", await applied)

    assert "record lost" == run_virtually(main)


def test_a_message_that_is_handled_late_was_lost_then() -> None:
    """It waited for a container for longer than its sender waited for the answer."""

    async def main(loop: VirtualLoop) -> str | None:
        ledger, trace = _watched(loop)
        dice = random.Random(2)
        pool = Pool("pool", "all", loop, dice=dice, ledger=ledger, trace=trace)
        committed: asyncio.Future[float] = loop.create_future()
        network = Network(loop, Faults(random.Random(1), only=("store_late",)), ledger, trace, dice)
        pool.close_for(3 * ASK_S)
        with pytest.raises(Unreachable):
            await network.line(made(loop), pool).ask(COMMIT)
        pool.join(Place(made(loop), Committer(committed), _never))
        at = await committed
        await asyncio.sleep(1.0)
        return ledger.causes.explain("update", at)

    assert "message lost" == run_virtually(main)


def _watched(loop: VirtualLoop) -> tuple[Ledger, Trace]:
    """A ledger in which one update of the chat is at work."""
    trace = Trace(loop.time, None)
    ledger = Ledger(loop.time, trace)
    ledger.causes.opened(CHAT, "update")
    return ledger, trace


async def _never() -> Place:
    raise AssertionError("nothing starts another container")
