"""What every store of sessions, mailboxes and updates promises."""

import asyncio
import itertools
from collections.abc import Sequence

import msgspec
import pytest

from actors.stores import ChatState, StoreError, TurnWritten, UpdateRecord, VersionConflict
from contracts.turns import TurnState
from tests.app.store.backends import Backend
from tests.app.store.records import CHAT, ended, lease, session, step, update

EVERY_BYTE = bytes(range(256))
ENDINGS: list[TurnState] = ["answered", "ignored", "refused", "quarantined", "dead_lettered", "unknown"]


async def stored(backend: Backend, record: UpdateRecord) -> UpdateRecord:
    """Append the update and give it as the store has it."""
    appended = await backend.sessions.append(record)
    return msgspec.structs.replace(record, version=appended.version)


def numbers(chat: ChatState) -> list[int]:
    """The chat's open updates, by number."""
    return [record.update for record in chat.open_updates]


# ---------------------------------------------------------------- append


async def test_append_gives_the_whole_record_back(backend: Backend) -> None:
    """What was appended is what is read, with a version and the store's time."""
    record = msgspec.structs.replace(update(1, body=EVERY_BYTE), shard=3, reason="because")
    appended = await backend.sessions.append(record)
    (read,) = (await backend.sessions.read_chat(CHAT)).open_updates
    assert (appended.created, appended.waiting) == (True, 1)
    assert msgspec.structs.replace(read, accepted_at=0.0) == msgspec.structs.replace(
        record, version=appended.version
    )
    assert appended.version > 0
    assert read.accepted_at > 1_700_000_000


async def test_append_twice(backend: Backend) -> None:
    """The same bot and update is created once, whatever else the second one says."""
    await backend.sessions.append(update(1))
    again = await backend.sessions.append(update(1, chat=CHAT + 1, body=b"other"))
    assert not again.created
    assert [one.body for one in (await backend.sessions.read_chat(CHAT)).open_updates] == [b"turn"]
    assert ChatState() == await backend.sessions.read_chat(CHAT + 1)


async def test_an_ended_update_is_still_a_duplicate(backend: Backend) -> None:
    """An update that was answered is not accepted again."""
    await backend.sessions.write_turn(step(ended(await stored(backend, update(1)))))
    assert not (await backend.sessions.append(update(1))).created
    assert numbers(await backend.sessions.read_chat(CHAT)) == []


async def test_updates_of_two_bots(backend: Backend) -> None:
    """Update ids belong to their bot."""
    await backend.sessions.append(update(1))
    other = msgspec.structs.replace(update(1), bot=8)
    assert (await backend.sessions.append(other)).created


async def test_order_is_the_order_of_appending(backend: Backend) -> None:
    """Ids out of order, with gaps or reset, do not change who comes first."""
    for number in (900, 5, 901, 1, 2**40):
        await backend.sessions.append(update(number))
    assert numbers(await backend.sessions.read_chat(CHAT)) == [900, 5, 901, 1, 2**40]


async def test_waiting_counts_the_open_updates_of_the_chat(backend: Backend) -> None:
    """Each append counts itself and those before it, in its own chat only."""
    first = [await backend.sessions.append(update(n)) for n in range(1, 4)]
    other = await backend.sessions.append(update(10, chat=CHAT + 1))
    assert [one.waiting for one in first] == [1, 2, 3]
    assert other.waiting == 1


@pytest.mark.parametrize("state", ["ignored", "refused", "quarantined"])
async def test_an_update_that_comes_in_ended_waits_for_nothing(backend: Backend, state: TurnState) -> None:
    """It is kept with its reason and does not enter the mailbox."""
    await backend.sessions.append(ended(update(1), state, reason="bot_message"))
    assert (await backend.sessions.append(update(2))).waiting == 1
    assert numbers(await backend.sessions.read_chat(CHAT)) == [2]
    (kept,) = await backend.sessions.find_updates([state], 10)
    assert (kept.reason, kept.open) == ("bot_message", False)


async def test_a_hundred_appends_at_once(backend: Backend) -> None:
    """Nothing is lost or doubled, and the counts are those of some order."""
    appended = await asyncio.gather(*(backend.sessions.append(update(n)) for n in range(100)))
    assert list(range(1, 101)) == sorted(one.waiting for one in appended)
    assert set(range(100)) == set(numbers(await backend.sessions.read_chat(CHAT)))


async def test_the_same_update_at_once(backend: Backend) -> None:
    """Of twenty deliveries of one update exactly one creates it."""
    appended = await asyncio.gather(*(backend.sessions.append(update(1)) for _ in range(20)))
    assert sum(one.created for one in appended) == 1
    assert numbers(await backend.sessions.read_chat(CHAT)) == [1]


@pytest.mark.parametrize("chat", [-1, -1_001_234_567_890, 0, 1, 2**53, -(2**53), 2**62])
async def test_any_chat_id(backend: Backend, chat: int) -> None:
    """Groups have negative ids, and ids may use 52 bits and more."""
    await backend.sessions.append(update(1, chat=chat))
    await backend.sessions.write_session(session(chat), "write")
    state = await backend.sessions.read_chat(chat)
    assert ([1], chat) == (numbers(state), state.session and state.session.chat)
    assert [chat] == [one.chat for one in (await backend.sessions.read_sessions([chat])).sessions]


# ---------------------------------------------------------------- chats


async def test_an_unknown_chat_is_empty(backend: Backend) -> None:
    """Nothing stored reads as nothing, not as an error."""
    assert ChatState() == await backend.sessions.read_chat(CHAT)


async def test_a_chat_survives_a_restart(backend: Backend) -> None:
    """Session, mailbox and lease are there for the next process."""
    await backend.sessions.append(update(1))
    await backend.sessions.append(update(2))
    version = await backend.sessions.write_session(session(body=EVERY_BYTE), "write")
    await backend.sessions.write_lease(CHAT, lease(1, owner="me", attempt=2))
    await backend.reopen()
    state = await backend.sessions.read_chat(CHAT)
    assert state.session is not None
    assert state.lease is not None
    assert (EVERY_BYTE, version) == (state.session.body, state.session.version)
    assert numbers(state) == [1, 2]
    assert lease(1, owner="me", attempt=2) == msgspec.structs.replace(state.lease, age_s=0.0)


async def test_many_chats_at_once_are_what_each_is_alone(backend: Backend) -> None:
    """Reading chats together gives for each, also for an unknown one, what reading it alone gives."""
    for chat in range(CHAT, CHAT + 5):
        for number in range(3):
            await stored(backend, update(10 * chat + number, chat=chat))
    await backend.sessions.write_session(session(CHAT + 1), "write")
    await backend.sessions.write_turn(step(ended(await stored(backend, update(1, chat=CHAT + 2)))))
    chats = (CHAT + 2, CHAT, CHAT + 1, CHAT + 9)
    together = await backend.sessions.read_chats(chats)
    assert {chat: await backend.sessions.read_chat(chat) for chat in chats} == dict(together)
    assert list(map(len, (together[chat].open_updates for chat in chats))) == [3, 3, 3, 0]


async def test_the_leases_of_many_chats(backend: Backend) -> None:
    """Each chat comes with its own lease."""
    for number in range(2):
        await stored(backend, update(number, chat=CHAT + number))
        await backend.sessions.write_lease(CHAT + number, lease(number))
    together = await backend.sessions.read_chats((CHAT, CHAT + 1))
    leases = [together[CHAT + number].lease for number in range(2)]
    assert ["lease-0", "lease-1"] == [one.lease for one in leases if one is not None]


async def test_no_chats_at_once(backend: Backend) -> None:
    """Asked for nothing, a store gives nothing."""
    assert {} == dict(await backend.sessions.read_chats(()))


async def test_many_chats_cost_two_reads_at_most(backend: Backend) -> None:
    """However many chats are read together, the store is asked twice, or once where nothing waits."""
    for number in range(40):
        await stored(backend, update(number, chat=CHAT + number))
    backend.meter.reads.clear()
    await backend.sessions.read_chats(range(CHAT, CHAT + 40))
    assert len(backend.meter.reads) <= 2


async def test_lease_age_is_store_time(backend: Backend) -> None:
    """A lease grows older by itself and starts at zero when renewed; the writer's own `age_s` is ignored."""
    await stored(backend, update(1))
    await backend.sessions.write_lease(CHAT, msgspec.structs.replace(lease(), age_s=1000.0))
    first = (await backend.sessions.read_chat(CHAT)).lease
    await asyncio.sleep(0.05)
    older = (await backend.sessions.read_chat(CHAT)).lease
    await backend.sessions.write_lease(CHAT, lease())
    renewed = (await backend.sessions.read_chat(CHAT)).lease
    assert first is not None
    assert older is not None
    assert renewed is not None
    assert 0.0 <= first.age_s < 10.0
    assert older.age_s - first.age_s >= 0.04
    assert renewed.age_s < older.age_s


async def test_a_lease_given_up_is_gone(backend: Backend) -> None:
    """Writing None takes the lease away and leaves the mailbox; doing it again changes nothing."""
    await backend.sessions.append(update(1))
    await backend.sessions.write_lease(CHAT, lease(1))
    await backend.sessions.write_lease(CHAT, None)
    await backend.sessions.write_lease(CHAT, None)
    state = await backend.sessions.read_chat(CHAT)
    assert (numbers(state), state.lease) == ([1], None)


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
    assert (first.waiting, first) == (1, again)
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


def assert_one_won(outcomes: Sequence[object], what: str) -> None:
    """Exactly one outcome is a success; every other is a conflict, or a store that asks to try again."""
    lost = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
    assert len(outcomes) - 1 == len(lost)
    assert {what} == {one.what for one in lost if isinstance(one, VersionConflict)}


# ---------------------------------------------------------------- sessions


async def test_session_versions_grow(backend: Backend) -> None:
    """Each write gives a higher version and a time that does not go back."""
    versions, times = [0], [0.0]
    for number in range(3):
        new = session(version=versions[-1], body=b"%d" % number)
        versions.append(await backend.sessions.write_session(new, f"write-{number}"))
        (read,) = (await backend.sessions.read_sessions([CHAT])).sessions
        assert (b"%d" % number, versions[-1]) == (read.body, read.version)
        times.append(read.updated_at)
    assert sorted(set(versions)) == versions
    assert sorted(times) == times
    assert times[1] > 1_700_000_000


@pytest.mark.parametrize("offset", [-1, 1])
async def test_a_session_at_another_version_is_a_conflict(backend: Backend, offset: int) -> None:
    """Neither an older nor a made-up version writes."""
    version = await backend.sessions.write_session(session(), "write")
    with pytest.raises(VersionConflict) as conflict:
        await backend.sessions.write_session(session(version=version + offset, body=b"no"), "late")
    assert conflict.value.what == "session"
    (read,) = (await backend.sessions.read_sessions([CHAT])).sessions
    assert (b"session", version) == (read.body, read.version)


async def test_a_session_that_is_not_there_is_a_conflict(backend: Backend) -> None:
    """A version other than 0 never creates."""
    with pytest.raises(VersionConflict):
        await backend.sessions.write_session(session(version=5), "write")
    assert (await backend.sessions.read_sessions([CHAT])).sessions == ()


async def test_a_repeated_session_write_gives_the_current_version(backend: Backend) -> None:
    """After a lost reply the same operation succeeds, although the version has moved: by itself."""
    first = await backend.sessions.write_session(session(), "once")
    assert first == await backend.sessions.write_session(session(), "once")
    (read,) = (await backend.sessions.read_sessions([CHAT])).sessions
    assert first == read.version


async def test_one_of_many_session_writers_wins(backend: Backend) -> None:
    """Of twenty compare-and-sets on one version exactly one succeeds."""
    version = await backend.sessions.write_session(session(), "write")
    writes = (
        backend.sessions.write_session(session(version=version, body=b"%d" % n), f"writer-{n}")
        for n in range(20)
    )
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert_one_won(outcomes, "session")
    (read,) = (await backend.sessions.read_sessions([CHAT])).sessions
    assert outcomes[int(read.body)] == read.version


async def test_many_sessions_in_one_read(backend: Backend) -> None:
    """More chats than any store takes in one request are one wave of a few calls; absent ones are left out."""
    chats = [*range(-300, 0), *range(2**53, 2**53 + 300)]
    present = chats[::7]
    await asyncio.gather(*(backend.sessions.write_session(session(chat), "write") for chat in present))
    backend.meter.reads.clear()
    batch = await backend.sessions.read_sessions(chats)
    assert sorted(present) == sorted(one.chat for one in batch.sessions)
    assert {b"session"} == {one.body for one in batch.sessions}
    assert (sum(backend.meter.reads), batch.set_aside) == (len(present), ())
    assert len(backend.meter.reads) <= 3  # a remote store reads 250 documents a call


async def test_no_chats(backend: Backend) -> None:
    """Reading nothing gives nothing."""
    assert (await backend.sessions.read_sessions([])).sessions == ()


async def test_recent_sessions_newest_first(backend: Backend) -> None:
    """The order is that of the last write, the limit cuts the oldest, other shards stay away."""
    versions = {chat: await backend.sessions.write_session(session(chat), "write") for chat in (1, 2, 3, 4)}
    await backend.sessions.write_session(session(9, shard=1), "write")
    await backend.sessions.write_session(session(2, version=versions[2], body=b"newer"), "write again")
    recent = (await backend.sessions.recent_sessions(0, 3)).sessions
    assert [one.chat for one in recent] == [2, 4, 3]
    assert recent[0].body == b"newer"
    times = [one.updated_at for one in recent]
    assert sorted(times, reverse=True) == times
    assert [one.chat for one in (await backend.sessions.recent_sessions(1, 3)).sessions] == [9]


async def test_a_tombstone_keeps_its_version_and_is_not_recent(backend: Backend) -> None:
    """A forgotten session is not warmed, and its version still guards the next write."""
    version = await backend.sessions.write_session(session(), "write")
    buried = await backend.sessions.write_session(session(version=version, body=b""), "forget")
    assert (await backend.sessions.recent_sessions(0, 10)).sessions == ()
    read = (await backend.sessions.read_chat(CHAT)).session
    assert read is not None
    assert (b"", buried) == (read.body, read.version)
    with pytest.raises(VersionConflict):
        await backend.sessions.write_session(session(), "as if new")
    again = await backend.sessions.write_session(session(version=buried), "start again")
    assert buried < again
    assert [one.chat for one in (await backend.sessions.recent_sessions(0, 10)).sessions] == [CHAT]


async def test_a_session_moves_to_another_shard(backend: Backend) -> None:
    """The shard is that of the last write."""
    version = await backend.sessions.write_session(session(), "write")
    await backend.sessions.write_session(session(version=version, shard=1), "move")
    assert (await backend.sessions.recent_sessions(0, 10)).sessions == ()
    assert [one.chat for one in (await backend.sessions.recent_sessions(1, 10)).sessions] == [CHAT]


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


# ---------------------------------------------------------------- costs and ends


async def test_meter_counts_calls(backend: Backend) -> None:
    """Each call of the port is metered as the calls that it made: one, or two for a chat where updates wait."""
    record = await stored(backend, update(1))
    await backend.sessions.write_lease(CHAT, lease(1))
    await backend.sessions.write_turn(step(record, session=session()))
    await backend.sessions.write_session(session(CHAT + 1), "write")
    assert (len(backend.meter.writes), len(backend.meter.reads)) == (4, 0)
    assert min(backend.meter.writes) > 0
    await backend.sessions.read_chat(CHAT)
    await backend.sessions.recent_sessions(0, 10)
    await backend.sessions.open_updates(0, 10)
    await backend.sessions.read_sessions([CHAT, CHAT + 1, CHAT + 2])
    assert len(backend.meter.writes) == 4
    assert 4 <= len(backend.meter.reads) <= 5
    assert backend.meter.reads[-3:] == [2, 1, 2]


async def test_close_twice(backend: Backend) -> None:
    """Closing a store again does nothing."""
    await backend.sessions.close()
    await backend.sessions.close()
