"""What every store promises of the updates that wait in a chat, and of the chat's lease."""

import asyncio

import msgspec
import pytest

from actors.stores import ChatState, LeaseRecord
from contracts.turns import TurnState
from tests.app.store.backends import Backend
from tests.app.store.conformance_kit import EVERY_BYTE, numbers, stored
from tests.app.store.records import CHAT, ended, lease, session, step, update

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
    mine = msgspec.structs.replace(lease(1, owner="me", attempt=2), wait_s=300.5)
    await backend.sessions.write_lease(CHAT, mine)
    await backend.reopen()
    state = await backend.sessions.read_chat(CHAT)
    assert state.session is not None
    assert state.lease is not None
    assert (EVERY_BYTE, version) == (state.session.body, state.session.version)
    assert numbers(state) == [1, 2]
    assert mine == msgspec.structs.replace(state.lease, age_s=0.0, wait_s=mine.wait_s)
    assert 290.0 < state.lease.wait_s <= 300.5


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


async def test_a_wait_is_counted_in_store_time(backend: Backend) -> None:
    """From its writing on, also of nobody's turn; a step of the turn writes it as well, and its end ends it."""
    record = await stored(backend, update(1))
    assert (await waits(backend, lease(1))) == 0.0
    assert 290.0 < await waits(backend, lease(1, owner="", attempt=0), 300.0) <= 300.0
    committed = msgspec.structs.replace(record, state="committed")
    short = msgspec.structs.replace(lease(1), wait_s=0.02)
    written = await backend.sessions.write_turn(step(committed, lease=short))
    await asyncio.sleep(0.05)
    over = (await backend.sessions.read_chat(CHAT)).lease
    assert over is not None
    assert -10.0 < over.wait_s < 0.0
    end = msgspec.structs.replace(ended(committed), version=written.update_version)
    await backend.sessions.write_turn(step(end, operation="end"))
    await stored(backend, update(2))
    assert (await backend.sessions.read_chat(CHAT)).lease is None
    assert (await waits(backend, lease(2))) == 0.0


async def test_a_late_lease_leaves_the_wait_alone(backend: Backend) -> None:
    """What was told is neither cut short nor begun anew by who only renews, hands back or steps on."""
    record = await stored(backend, update(1))
    await waits(backend, lease(1, owner="", attempt=0), 300.0)
    assert 290.0 < await waits(backend, lease(1, owner="late")) <= 300.0
    await backend.sessions.write_lease(CHAT, None)
    nobody = (await backend.sessions.read_chat(CHAT)).lease
    assert nobody is not None
    assert ("", "7:1") == (nobody.owner, nobody.update_key)
    assert 290.0 < nobody.wait_s <= 300.0
    await backend.sessions.write_turn(
        step(msgspec.structs.replace(record, state="committed"), lease=lease(1))
    )
    stepped = (await backend.sessions.read_chat(CHAT)).lease
    assert stepped is not None
    assert ("one", True) == (stepped.owner, 290.0 < stepped.wait_s <= 300.0)


async def waits(backend: Backend, lease: LeaseRecord, wait_s: float = 0.0) -> float:
    """Write the lease with a wait; gives how long the chat waits then."""
    await backend.sessions.write_lease(CHAT, msgspec.structs.replace(lease, wait_s=wait_s, age_s=1000.0))
    read = (await backend.sessions.read_chat(CHAT)).lease
    assert read is not None
    return read.wait_s


async def test_a_lease_given_up_is_gone(backend: Backend) -> None:
    """Writing None takes the lease away and leaves the mailbox; doing it again changes nothing."""
    await backend.sessions.append(update(1))
    await backend.sessions.write_lease(CHAT, lease(1))
    await backend.sessions.write_lease(CHAT, None)
    await backend.sessions.write_lease(CHAT, None)
    state = await backend.sessions.read_chat(CHAT)
    assert (numbers(state), state.lease) == ([1], None)
