"""What a simulated message meets on its way is a cause for all who wait for it."""

import asyncio
import random

import pytest

from actors.ports import NotSent
from app.chaos.faults import Faults
from app.chaos.ledger import STALL_S, Ledger
from app.chaos.lives import Life, Piece
from app.chaos.telegram_port import LONG_S, ChaosTelegram, Wire
from app.chaos.trace import Trace
from app.chaos.virtual_loop import VirtualLoop, run_virtually
from app.telegram.simulator_delivery import Deliver
from app.telegram.simulator_methods import Webhook
from app.telegram.simulator_people import People
from app.telegram.simulator_ports import SeededChance
from tests.actors.fakes import VirtualClock
from tests.app.chaos.test_container import made

GROUP, SUPERGROUP, OTHER = -1, -1_000_001, -2


@pytest.mark.parametrize(("waiting", "broken"), [(SUPERGROUP, []), (GROUP, []), (OTHER, ["I2 takeover"])])
def test_a_group_waits_with_its_supergroup(waiting: int, broken: list[str]) -> None:
    """Its last answer goes there, and may be told to wait; others have no such cause to stand still."""

    async def main(loop: VirtualLoop) -> list[str]:
        trace = Trace(loop.time)
        ledger = Ledger(loop.time, trace)
        people = People({"id": 7, "is_bot": True}, _connect, VirtualClock(), SeededChance(1))
        people.world.chat(GROUP, "group")
        people.migrate(GROUP, SUPERGROUP)
        faults = Faults(random.Random(1), only=("telegram_429_long",), intensity=1e9)
        wire = Wire(people, faults, ledger, trace, random.Random(5))
        with pytest.raises(NotSent) as refused:
            await ChaosTelegram(wire, made(loop)).send_message(SUPERGROUP, "hello")
        assert STALL_S + 1 < refused.value.retry_after_s <= LONG_S
        await asyncio.sleep(STALL_S + 1)
        ledger.watch(waiting, 0)
        return [violation.promise for violation in ledger.violations]

    assert broken == run_virtually(main)


@pytest.mark.parametrize(("sender", "broken"), [(GROUP, []), (SUPERGROUP, ["B1 told"])])
def test_a_group_s_last_answers_wait_for_themselves(sender: int, broken: list[str]) -> None:
    """What a supergroup's turn is told binds that mailbox; the group's own hears of it from Telegram."""

    async def main(loop: VirtualLoop) -> list[str]:
        ledger = Ledger(loop.time, Trace(loop.time))
        for update, chat in (("told", SUPERGROUP), ("sends", sender)):
            ledger.lives[update] = Life(chat, chunks=("sending",))
            ledger.pieces[update] = Piece(update, 0)
        ledger.told(SUPERGROUP, "told hello", LONG_S, lambda: True)
        ledger.begun(SUPERGROUP, "sends hello")
        return [violation.promise for violation in ledger.violations]

    assert broken == run_virtually(main)


def _connect(webhook: Webhook) -> Deliver:
    raise AssertionError("nothing is delivered here")
