"""What every store promises of a turn's steps, and of the lists of updates that they leave."""

import asyncio
import itertools

import msgspec
import pytest

from actors.stores import ChatState, TurnWritten, VersionConflict
from contracts.turns import TurnState
from tests.app.store.backends import Backend
from tests.app.store.conformance_kit import assert_one_won, numbers, stored
from tests.app.store.records import CHAT, ended, lease, session, step, update

ENDINGS: list[TurnState] = ["answered", "ignored", "refused", "quarantined", "dead_lettered", "unknown"]

# ---------------------------------------------------------------- turns


async def test_commit_writes_update_and_session(backend: Backend) -> None:
    """A committed turn is still open, carries its outbox, and its session is there in the same step."""
    record = await stored(backend, update(1))
    committed = msgspec.structs.replace(record, state="committed", body=b"outbox", reason="so")
    written = await backend.sessions.write_turn(step(committed, session=session()))
    state = await backend.sessions.read_chat(CHAT)
    assert state.session is not None
    assert (b"session", written.session_version) == (state.session.body, state.session.version)
    (read,) = state.open_updates
    assert (read.state, read.body, read.reason) == ("committed", b"outbox", "so")
    assert (written.update_version, 1) == (read.version, written.waiting)
    assert record.version < written.update_version


async def test_a_step_without_a_session_leaves_it_alone(backend: Backend) -> None:
    """Marking a chunk delivered does not touch the session."""
    version = await backend.sessions.write_session(session(), "write")
    record = await stored(backend, update(1))
    written = await backend.sessions.write_turn(step(record))
    state = await backend.sessions.read_chat(CHAT)
    assert state.session is not None
    assert (version, 0) == (state.session.version, written.session_version)


@pytest.mark.parametrize("state", ENDINGS)
async def test_an_ended_turn_leaves_the_mailbox_and_its_lease(backend: Backend, state: TurnState) -> None:
    """Closing takes update and lease out in the same commit; the next update moves up."""
    first, _ = await stored(backend, update(1)), await stored(backend, update(2))
    await backend.sessions.write_lease(CHAT, lease(1))
    written = await backend.sessions.write_turn(step(ended(first, state, reason="why")))
    chat = await backend.sessions.read_chat(CHAT)
    assert (written.waiting, numbers(chat), chat.lease) == (1, [2], None)
    (kept,) = await backend.sessions.find_updates([state], 10)
    assert (kept.update, kept.reason, kept.open) == (1, "why", False)


async def test_a_whole_turn(backend: Backend) -> None:
    """Accept, commit, deliver twice, end: each step builds on the version of the one before."""
    record = await stored(backend, update(1))
    for number, state in enumerate(["committed", "committed", "answered"]):
        new = msgspec.structs.replace(record, state=state, open=state != "answered", body=b"%d" % number)
        written = await backend.sessions.write_turn(step(new, operation=f"step-{number}"))
        assert record.version < written.update_version
        record = msgspec.structs.replace(new, version=written.update_version)
    (kept,) = await backend.sessions.find_updates(["answered"], 10)
    assert msgspec.structs.replace(record, accepted_at=kept.accepted_at) == kept


async def test_a_moved_update_is_a_conflict(backend: Backend) -> None:
    """A writer with an old version is told so, and neither document changes."""
    record = await stored(backend, update(1))
    await backend.sessions.write_turn(step(record, operation="other"))
    before = await backend.sessions.read_chat(CHAT)
    late = step(ended(record), operation="late", session=session())
    with pytest.raises(VersionConflict) as conflict:
        await backend.sessions.write_turn(late)
    assert conflict.value.what == "update"
    assert before == await backend.sessions.read_chat(CHAT)


async def test_a_moved_session_is_a_conflict(backend: Backend) -> None:
    """The update is not written when its session had moved."""
    record = await stored(backend, update(1))
    version = await backend.sessions.write_session(session(), "write")
    await backend.sessions.write_session(session(version=version, body=b"newer"), "write again")
    before = await backend.sessions.read_chat(CHAT)
    with pytest.raises(VersionConflict) as conflict:
        await backend.sessions.write_turn(step(ended(record), session=session(version=version)))
    assert conflict.value.what == "session"
    assert before == await backend.sessions.read_chat(CHAT)


async def test_a_session_that_should_not_exist_is_a_conflict(backend: Backend) -> None:
    """Version 0 creates, and never overwrites."""
    record = await stored(backend, update(1))
    await backend.sessions.write_session(session(), "write")
    before = await backend.sessions.read_chat(CHAT)
    with pytest.raises(VersionConflict) as conflict:
        await backend.sessions.write_turn(step(record, session=session()))
    assert conflict.value.what == "session"
    assert before == await backend.sessions.read_chat(CHAT)


@pytest.mark.parametrize("version", [0, 1])
async def test_a_turn_of_no_update_is_a_conflict(backend: Backend, version: int) -> None:
    """An update that is not stored is not created by its turn, at whatever version."""
    absent = msgspec.structs.replace(update(1), version=version)
    with pytest.raises(VersionConflict) as conflict:
        await backend.sessions.write_turn(step(absent, session=session()))
    assert conflict.value.what == "update"
    assert ChatState() == await backend.sessions.read_chat(CHAT)


async def test_a_repeated_step_succeeds_without_writing(backend: Backend) -> None:
    """After a lost reply the same operation gives the same answer and changes nothing."""
    record = await stored(backend, update(1))
    await backend.sessions.append(update(2))
    write = step(ended(record), operation="once", session=session())
    first = await backend.sessions.write_turn(write)
    before = await backend.sessions.read_chat(CHAT)
    again = await backend.sessions.write_turn(write)
    assert (first.waiting, msgspec.structs.replace(first, repeated=True)) == (1, again)
    assert before == await backend.sessions.read_chat(CHAT)


async def test_one_of_many_steps_wins(backend: Backend) -> None:
    """Twenty owners of one turn commit it once."""
    record = await stored(backend, update(1))
    writes = [step(ended(record, body=b"%d" % n), operation=f"owner-{n}") for n in range(20)]
    outcomes = await asyncio.gather(*map(backend.sessions.write_turn, writes), return_exceptions=True)
    assert_one_won(outcomes, "update")
    (kept,) = await backend.sessions.find_updates(["answered"], 10)
    winner = next(n for n, outcome in enumerate(outcomes) if isinstance(outcome, TurnWritten))
    assert b"%d" % winner == kept.body


# ---------------------------------------------------------------- lists of updates


async def test_open_updates_oldest_first(backend: Backend) -> None:
    """The sweeper sees what has no end, across chats, in order, of its own shard only."""
    counter = itertools.count(100, -1)
    records = [await stored(backend, update(next(counter), chat=chat)) for chat in (3, 1, 2, 1)]
    await backend.sessions.append(update(1, chat=9, shard=1))
    await backend.sessions.append(ended(update(2, chat=3), "ignored"))
    await backend.sessions.write_turn(step(ended(records[1])))
    assert [one.update for one in await backend.sessions.open_updates(0, 10)] == [100, 98, 97]
    assert [one.update for one in await backend.sessions.open_updates(0, 2)] == [100, 98]
    assert [one.update for one in await backend.sessions.open_updates(1, 10)] == [1]


async def test_find_updates_by_state(backend: Backend) -> None:
    """An operator finds the turns in given states, of any shard, oldest first."""
    states: list[TurnState] = ["unknown", "answered", "dead_lettered", "unknown"]
    for number, state in enumerate(states):
        record = await stored(backend, update(number, chat=number, shard=number % 2))
        await backend.sessions.write_turn(step(ended(record, state)))
    await backend.sessions.append(update(10))
    found = await backend.sessions.find_updates(["unknown", "dead_lettered"], 10)
    assert [one.update for one in found] == [0, 2, 3]
    assert [one.update for one in await backend.sessions.find_updates(["unknown"], 2)] == [0, 3]
    assert [one.update for one in await backend.sessions.find_updates(["accepted"], 10)] == [10]
    assert list(await backend.sessions.find_updates([], 10)) == []


async def test_erase_updates_keeps_ids_and_states(backend: Backend) -> None:
    """The texts of a chat's ended updates go; ids, states, open updates and other chats stay."""
    for number, chat in ((1, CHAT), (2, CHAT), (3, CHAT + 1)):
        record = await stored(backend, update(number, chat=chat))
        await backend.sessions.write_turn(step(ended(record, reason="why")))
    await backend.sessions.append(update(4))
    assert await backend.sessions.erase_updates(CHAT) == 2
    found = await backend.sessions.find_updates(["answered"], 10)
    assert [(one.update, one.body, one.reason) for one in found] == [
        (1, b"", "why"),
        (2, b"", "why"),
        (3, b"turn", "why"),
    ]
    assert [one.body for one in (await backend.sessions.read_chat(CHAT)).open_updates] == [b"turn"]
    assert not (await backend.sessions.append(update(1))).created


async def test_purge_keeps_what_has_not_expired(backend: Backend) -> None:
    """What ended a moment ago, and what has not ended, stays."""
    await backend.sessions.write_turn(step(ended(await stored(backend, update(1)))))
    await backend.sessions.append(update(2))
    assert await backend.sessions.purge(100) == 0
    assert not (await backend.sessions.append(update(1))).created
    assert numbers(await backend.sessions.read_chat(CHAT)) == [2]
