"""What `firstlight doctor` proves of the records: each end with its reason, each turn with its ticket."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from actors import turns
from actors.stores import UpdateRecord
from app.doctor import examine
from app.doctor_records import contradictions
from contracts.turns import Chunk, ChunkState, Incoming, TurnState
from tests.app.doctor.kit import Patient, firestore_patient
from tests.app.store.firestore_rig import google_client
from tests.app.store.records import update
from tests.emulator import Emulator


def answer(*states: ChunkState) -> bytes:
    """A turn whose reply has chunks in these states."""
    chunks = tuple(Chunk(text="a part", state=state) for state in states)
    return turns.pack(turns.TurnRecord(incoming=Incoming(kind="message", chat=500), chunks=chunks))


@pytest.mark.parametrize(
    ("state", "is_open", "reason", "body", "problem"),
    [
        ("accepted", True, "", b"", ""),
        ("committed", True, "", answer("sent", "planned"), ""),
        ("answered", False, "", answer("sent", "sent"), ""),
        ("answered", False, "", b"", ""),
        ("ignored", False, "bot_message", b"", ""),
        ("unknown", False, "timeout", answer("unknown"), ""),
        ("ignored", False, "", b"", "ended without a reason"),
        ("refused", False, "", b"", "ended without a reason"),
        ("quarantined", False, "", b"", "ended without a reason"),
        ("dead_lettered", False, "", b"", "ended without a reason"),
        ("unknown", False, "", answer("unknown"), "ended without a reason"),
        ("answered", False, "", answer("sent", "planned"), "is called answered, and chunk 1 is planned"),
        ("answered", False, "", answer("unknown"), "is called answered, and chunk 0 is unknown"),
        ("accepted", False, "", b"", "has no end, and is closed"),
        ("committed", False, "", b"", "has no end, and is closed"),
        ("answered", True, "", b"", "has its end, and is open"),
    ],
)
def test_a_record_is_held_against_itself(
    state: TurnState, is_open: bool, reason: str, body: bytes, problem: str
) -> None:
    """I1: one end, and its reason; I2: what is called answered was sent."""
    record = msgspec.structs.replace(update(1, body=body), state=state, open=is_open, reason=reason)
    assert [problem] * bool(problem) == [each.problem for each in contradictions([record])]


@pytest.mark.parametrize("state", ["ignored", "refused", "dead_lettered", "unknown"])
async def test_an_end_without_its_reason_is_a_finding(patient: Patient, state: TurnState) -> None:
    """In the store as well, whichever state it is in."""
    record: UpdateRecord = await patient.accept(1)
    if state == "unknown":
        await patient.move(record, "committed")
        (record,) = (await patient.store.read_chat(500)).open_updates
    await patient.move(record, state)
    found = await examine(patient.database)
    assert (False, [(1, "ended without a reason")]) == (
        found.ok,
        [(each.update, each.problem) for each in found.contradictions],
    )


async def test_an_answer_that_was_not_sent_is_a_finding(patient: Patient) -> None:
    """Its record says so itself."""
    await patient.move(await patient.accept(1, body=answer("sent", "sending")), "answered")
    found = await examine(patient.database)
    assert (False, (1,)) == (found.ok, tuple(each.update for each in found.contradictions))


async def test_an_update_without_a_ticket_is_lost(
    request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator, project: str
) -> None:
    """Nobody comes to it, however diligently its chat is worked on; the ticket of no update is told as well."""
    async with (
        firestore_patient(request, tmp_path) as patient,
        google_client(project, emulator.host) as google,
    ):
        await patient.accept(1)
        await patient.accept(2)
        await patient.age()
        tickets = {"tickets": ["7:2", "7:99"], "leases": {}}
        await google.document("mailboxes/500").update(tickets)
        found = await examine(patient.database)
    assert (False, {1, 2}) == (found.ok, set(found.lost))
    assert [(1, "waits for its turn, and has no ticket in its chat's mailbox")] == [
        (each.update, each.problem) for each in found.contradictions
    ]
    assert [("updates/7:99", "the document is missing")] == [
        (each.file, each.reason) for each in found.set_aside
    ]


@pytest.mark.parametrize(
    "change",
    ["state = 'garbled'", "state = NULL", "body = NULL", "chat = 'x'", "accepted_at = NULL", "open = 7"],
)
async def test_an_update_that_nobody_can_read_is_a_finding(healthy: Patient, change: str) -> None:
    """I1: nobody will ever work it, so that it has no end, whatever has become of the row."""
    await healthy.accept(1)
    await healthy.accept(2, 501)
    by_hand(healthy, f"""UPDATE updates SET {change} WHERE "update" = 2""")  # noqa: S608 made here
    found = await examine(healthy.database)
    assert (False, ["updates/7:2"]) == (found.ok, [each.file for each in found.set_aside])


async def test_a_document_that_nobody_can_read_is_a_finding(
    request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator, project: str
) -> None:
    """In Firestore as well."""
    async with (
        firestore_patient(request, tmp_path) as patient,
        google_client(project, emulator.host) as google,
    ):
        await patient.accept(1)
        await google.document("updates/7:1").update({"state": "garbled"})
        found = await examine(patient.database)
    assert (False, ["updates/7:1"]) == (found.ok, [each.file for each in found.set_aside])


def by_hand(patient: Patient, statement: str) -> None:
    """Change the file as no version of ours does."""
    connection = sqlite3.connect(patient.environ["FIRSTLIGHT_STORE"].removeprefix("sqlite:///"))
    connection.execute(statement)
    connection.commit()
    connection.close()
