"""Dead letters are given one more turn, unless anybody may have seen a part of the answer."""

import asyncio
import sqlite3
from pathlib import Path

import msgspec
import pytest

from actors import turns
from actors.meter import Meter
from app.dead_letters import replay_dead
from app.doctor import LOOKED_AT, examine
from app.store.database import choose
from app.telegram.simulator import TelegramSimulator
from contracts.turns import Chunk, ChunkState, Incoming
from tests.app.doctor.kit import FILE, Patient
from tests.app.service_kit import REPLY_S, serving, settings
from tests.app.store.records import ended, step, update


def _letter(*states: ChunkState) -> bytes:
    chunks = tuple(Chunk(text="a part", state=state) for state in states)
    return turns.pack(turns.TurnRecord(incoming=Incoming(kind="message", chat=500, text="hi"), chunks=chunks))


async def test_a_dead_letter_is_given_one_more_turn(patient: Patient) -> None:
    """At the end of its chat's mailbox, its own record untouched; a second replay changes nothing."""
    await patient.move(await patient.accept(1, body=_letter()), "dead_lettered", "five attempts")
    await patient.accept(2)
    first, second = await replay_dead(patient.database), await replay_dead(patient.database)
    waiting = (await patient.store.read_chat(500)).open_updates
    assert ((1,), ()) == (first.reopened, second.reopened)
    assert {"1": "was replayed before"} == second.left
    assert [2, -1] == [each.update for each in waiting]
    assert "hi" == turns.unpack(waiting[1]).incoming.text
    assert (1,) == (await examine(patient.database)).dead


async def test_each_of_many_dead_letters_is_given_its_turn(healthy: Patient, tmp_path: Path) -> None:
    """More than `doctor` looks at, and behind one that nobody can read."""
    letters = range(1, LOOKED_AT + 3)
    accepted = await asyncio.gather(*(healthy.accept(each, body=_letter()) for each in letters))
    await asyncio.gather(*(healthy.move(each, "dead_lettered", "five attempts") for each in accepted))
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("""UPDATE updates SET chat = 'nobody' WHERE "update" = 1""")
    connection.close()
    assert tuple(letters[1:]) == (await replay_dead(healthy.database)).reopened


async def test_update_0_is_given_its_turn(patient: Patient) -> None:
    """It has no negative, and is taken neither for its own replay nor for replayed."""
    await patient.move(await patient.accept(0, body=_letter()), "dead_lettered", "five attempts")
    first, second = await replay_dead(patient.database), await replay_dead(patient.database)
    (again,) = (await patient.store.read_chat(500)).open_updates
    assert ((0,), {"0": "was replayed before"}) == (first.reopened, second.left)
    assert again.update < 0


async def test_a_notice_is_no_answer(healthy: Patient) -> None:
    """Who was told that there will be none may have one after all, as an operator wants it."""
    notice = turns.TurnRecord(
        incoming=Incoming(kind="message", chat=500, text="hi"),
        chunks=(Chunk(text="sorry", state="sent"),),
        gave_up=True,
    )
    await healthy.move(await healthy.accept(1, body=turns.pack(notice)), "dead_lettered", "five attempts")
    assert (1,) == (await replay_dead(healthy.database)).reopened
    (again,) = (await healthy.store.read_chat(500)).open_updates
    assert turns.TurnRecord(incoming=notice.incoming) == turns.unpack(again)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (_letter("sent", "failed"), "was answered in part"),
        (_letter("unknown", "failed"), "was answered in part"),
        (b"", "is erased or unreadable"),
    ],
)
async def test_a_dead_letter_that_was_seen_is_left(healthy: Patient, body: bytes, why: str) -> None:
    """Nobody gets an answer twice, not even a part of it."""
    await healthy.move(await healthy.accept(1, body=body), "dead_lettered")
    assert {"1": why} == (await replay_dead(healthy.database)).left
    assert () == (await healthy.store.read_chat(500)).open_updates


async def test_a_running_service_works_a_replayed_letter(tmp_path: Path) -> None:
    """Found by its sweeper; the answer arrives once."""
    async with TelegramSimulator() as telegram:
        telegram.open_chat(chat=500)
        chosen = settings(tmp_path)
        database = choose(chosen)
        store = database.sessions(Meter())
        record = msgspec.structs.replace(update(1), body=_letter())
        stored = await store.append(record)
        dead = msgspec.structs.replace(
            ended(record, "dead_lettered", body=record.body), version=stored.version
        )
        await store.write_turn(step(dead))
        assert (1,) == (await replay_dead(database)).reopened
        await store.close()
        async with serving(telegram, chosen):
            await telegram.wait_for_reply(500, 1, REPLY_S)
            assert 1 == len(telegram.replies(500))
