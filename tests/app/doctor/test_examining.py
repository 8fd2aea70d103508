"""What `firstlight doctor` finds in a real store."""

import asyncio
from typing import get_args

import grpc

from app.doctor import LOOKED_AT, examine
from app.settings import load
from app.store.database import choose
from contracts.turns import TurnState
from tests.app.doctor.kit import AGO_S, Patient
from tests.app.store.firestore_rig import shipped_indexes
from tests.app.store.records import lease
from tests.emulator import Emulator
from tests.faultproxy import Fault, FaultProxy

NO_INDEX = "The query requires an index. You can create it here: https://example.invalid"


async def test_an_empty_store_is_healthy(patient: Patient) -> None:
    """Nothing is a finding where nothing is."""
    found = await examine(patient.database)
    assert (True, (), ()) == (found.ok, found.lost, found.missing_indexes)
    assert dict.fromkeys(get_args(TurnState), 0) == found.checked


async def test_an_old_update_without_an_owner_is_lost(patient: Patient) -> None:
    """A young one may still be taken up."""
    await patient.accept(1)
    await patient.age()
    await patient.accept(2, chat=501)
    found = await examine(patient.database)
    assert (False, (1,), ()) == (found.ok, found.lost, found.stuck)
    assert [(1, 500, "accepted")] == [(each.update, each.chat, each.state) for each in found.updates]


async def test_a_living_lease_covers_all_that_waits_in_its_chat(patient: Patient) -> None:
    """What stands behind a turn that is worked on is not lost, however old."""
    for number in (1, 2, 3):
        await patient.accept(number)
    await patient.age()
    await patient.store.write_lease(500, lease(1))
    assert (await examine(patient.database)).ok


async def test_a_committed_turn_whose_lease_ran_out_is_stuck(patient: Patient) -> None:
    """With the lease that nobody renewed."""
    await patient.move(await patient.accept(1), "committed")
    await patient.store.write_lease(500, lease(1))
    await patient.age()
    found = await examine(patient.database)
    assert (False, (), (1,)) == (found.ok, found.lost, found.stuck)
    assert [(500, "7:1", "one")] == [(each.chat, each.update, each.owner) for each in found.stuck_leases]
    assert found.stuck_leases[0].age_s >= AGO_S


async def test_unknown_and_dead_ends_are_told_and_are_ends(patient: Patient) -> None:
    """Each with its reason; nothing is wrong with the store."""
    await patient.move(await patient.accept(1), "answered")
    await patient.move(await patient.accept(2, chat=501), "dead_lettered", "blocked")
    await patient.move(await patient.accept(3, chat=502), "committed")
    (committed,) = (await patient.store.read_chat(502)).open_updates
    await patient.move(committed, "unknown", "its owner stopped while sending")
    found = await examine(patient.database)
    assert (True, (3,), (2,)) == (found.ok, found.unknown, found.dead)
    assert {"its owner stopped while sending", "blocked"} == {each.reason for each in found.updates}


async def test_more_chats_than_one_wave_takes(healthy: Patient) -> None:
    """Every one of them is looked at."""
    await asyncio.gather(*(healthy.accept(number, chat=number) for number in range(1, 251)))
    await healthy.age()
    assert set(range(1, 251)) == set((await examine(healthy.database)).lost)


async def test_what_was_not_looked_at_is_said(healthy: Patient) -> None:
    """A bounded look never passes for a whole one, and one state does not crowd out another."""
    many = (healthy.accept(number, chat=number) for number in range(LOOKED_AT + 1))
    dead = (healthy.move(record, "dead_lettered", "blocked") for record in await asyncio.gather(*many))
    await asyncio.gather(*dead)
    await healthy.accept(9_999, chat=9_999)
    await healthy.age()
    found = await examine(healthy.database)
    assert (("dead_lettered",), LOOKED_AT, (9_999,)) == (found.unchecked, len(found.dead), found.lost)


async def test_ends_that_are_as_they_should_be_are_no_line_for_ever(healthy: Patient) -> None:
    """Who has answered a thousand messages has nothing left to look at."""
    many = await asyncio.gather(*(healthy.accept(number, chat=number) for number in range(LOOKED_AT + 1)))
    await asyncio.gather(*(healthy.move(record, "answered") for record in many))
    found = await examine(healthy.database)
    assert (True, (), LOOKED_AT) == (found.ok, found.unchecked, found.checked["answered"])


async def test_missing_indexes_are_named(emulator: Emulator, project: str) -> None:
    """Those that the shipped queries want, in the database's own refusal (the emulator never refuses)."""
    proxy = FaultProxy(emulator.host)
    await proxy.start()
    refusal = grpc.StatusCode.FAILED_PRECONDITION
    environ = {"FIRSTLIGHT_STORE": f"firestore://{project}", "FIRESTORE_EMULATOR_HOST": proxy.host}
    database = choose(load(environ))
    await database.open()
    try:
        proxy.inject(
            Fault("refuse", method="RunQuery", times=len(shipped_indexes()), status=refusal, detail=NO_INDEX)
        )
        missing = await database.missing_indexes()
    finally:
        await database.close()
        await proxy.stop()
    assert shipped_indexes() == set(missing)
