"""What `firstlight doctor` says of turns that wait: told apart from those that nobody works on."""

import time

import msgspec
import pytest

from actors.stores import LeaseRecord, SessionStore, SkillStatsStore, StoreMeter, UpdateRecord
from actors.warm_ports import WarmStore
from app.doctor import Findings, examine
from app.store.database import Database
from contracts.skills import SetAside
from tests.app.doctor.kit import AGO_S, Patient
from tests.app.store.records import lease, step


async def hand_back(patient: Patient, wait_s: float, *, after: int = 0) -> UpdateRecord:
    """Commit a turn, and hand it back for so long; `after` updates more wait behind it."""
    record = await patient.accept(1)
    await patient.move(record, "committed")
    for number in range(2, after + 2):
        await patient.accept(number)
    nobody = LeaseRecord(lease="lease-1", owner="", update_key=record.key, attempt=0, wait_s=wait_s)
    await patient.store.write_lease(500, nobody)
    return record


async def test_a_turn_that_waits_as_telegram_told_is_no_fault(patient: Patient) -> None:
    """It is said until when, by the store's clock; what stands behind it waits with it."""
    await hand_back(patient, 300.0, after=2)
    await patient.age()
    found = await examine(patient.database)
    (wait,) = found.waits
    assert (True, (), (), {1, 2, 3}) == (found.ok, found.lost, found.stuck, set(found.waiting))
    assert (500, "7:1") == (wait.chat, wait.update)
    assert 180.0 < wait.left_s <= 300.0 - AGO_S
    assert abs(time.time() + wait.left_s - wait.until) < 30.0


async def test_a_wait_that_is_over_long_ago_is_stuck(patient: Patient) -> None:
    """Nobody took the turn up when its time had come."""
    await hand_back(patient, AGO_S - 40.0)
    await patient.age()
    found = await examine(patient.database)
    assert (False, (1,), ()) == (found.ok, found.stuck, found.waiting)


async def test_a_wait_that_is_just_over_is_still_taken_up(patient: Patient) -> None:
    """The sweeper comes within seconds."""
    await hand_back(patient, AGO_S - 5.0)
    await patient.age()
    found = await examine(patient.database)
    assert (True, (1,), 0.0) == (found.ok, found.waiting, found.waits[0].left_s)


async def test_a_turn_that_nobody_has_and_that_does_not_wait_is_stuck(patient: Patient) -> None:
    """A lease of nobody, however young, is no sign of work."""
    await patient.move(await patient.accept(1), "committed")
    await patient.age()
    nobody = LeaseRecord(lease="lease-1", owner="", update_key="7:1", attempt=0)
    await patient.store.write_lease(500, nobody)
    assert (1,) == (await examine(patient.database)).stuck


async def test_a_lease_of_another_turn_covers_nothing(patient: Patient) -> None:
    """Only who has the chat's first turn goes on to those behind it."""
    for number in (1, 2):
        await patient.accept(number)
    await patient.age()
    await patient.store.write_lease(500, lease(2))
    assert {1, 2} == set((await examine(patient.database)).lost)


@pytest.mark.parametrize(("ahead_s", "lost"), [(0.0, ()), (40.0, (1,)), (-600.0, ())])
async def test_what_is_old_is_old_by_the_stores_clock(
    healthy: Patient, ahead_s: float, lost: tuple[int, ...]
) -> None:
    """C10: the operator's own clock may be off."""
    await healthy.accept(1)
    found = await examine(_Ahead(healthy.database, ahead_s))
    assert (lost, not lost) == (found.lost, found.ok)


async def test_a_store_tells_its_time(patient: Patient) -> None:
    """The one by which it dates what it accepts."""
    await patient.accept(1)
    (record,) = (await patient.store.read_chat(500)).open_updates
    assert 0.0 <= await patient.database.now() - record.accepted_at < 30.0


async def test_a_doctor_that_looks_twice_finds_the_same(patient: Patient) -> None:
    """Looking changes nothing."""
    await hand_back(patient, 300.0)
    first, second = await examine(patient.database), await examine(patient.database)
    assert _without_times(first) == _without_times(second)


def _without_times(found: Findings) -> Findings:
    return msgspec.structs.replace(found, waits=(), updates=())


class _Ahead(Database):
    """A store whose clock differs from that of all who wrote to it."""

    def __init__(self, database: Database, ahead_s: float) -> None:
        self._database, self._ahead_s = database, ahead_s

    async def open(self) -> None:
        """It is open."""

    async def close(self) -> None:
        """It stays open."""

    def warm(self, meter: StoreMeter) -> WarmStore:
        """Nobody warms here."""
        raise AssertionError(meter)

    async def rehearse(self) -> None:
        """Nobody acts here."""

    def skills(self, meter: StoreMeter) -> SkillStatsStore:
        """Nobody counts here."""
        raise AssertionError(meter)

    def sessions(self, meter: StoreMeter) -> SessionStore:
        """The same store's."""
        return self._database.sessions(meter)

    async def now(self) -> float:
        """So much later."""
        return await self._database.now() + self._ahead_s

    async def missing_indexes(self) -> tuple[str, ...]:
        """None."""
        return ()

    async def unreadable_updates(self, limit: int) -> tuple[SetAside, ...]:
        """None."""
        return ()


async def test_a_step_of_a_turn_keeps_who_waits(patient: Patient) -> None:
    """Written with a chunk's fate, the wait is seen while its owner still has the turn."""
    record = await patient.accept(1)
    waits = msgspec.structs.replace(lease(1), wait_s=300.0)
    committed = msgspec.structs.replace(record, state="committed")
    await patient.store.write_turn(step(committed, lease=waits))
    await patient.age()
    assert (1,) == (await examine(patient.database)).waiting
