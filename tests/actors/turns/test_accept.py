"""Accepting: durable before the answer, once for each update, bounded, in order, and never a lost turn."""

import asyncio

import pytest

from contracts.faults import MailboxFull, StoreUnavailable
from contracts.sessions import (
    AcceptUpdate,
    ClaimTurn,
    NothingWaiting,
    TurnClaimed,
    UpdateAccepted,
    UpdateDuplicate,
)
from contracts.turns import Incoming, Verdict
from tests.actors.memory_store import STORE_DEADLINE_S, Mishap
from tests.actors.turn_kit import BOT, CHAT, World

HANGS: list[Mishap] = ["hang"] * 10


async def test_what_is_answered_as_accepted_is_stored(world: World) -> None:
    """The answer comes after the commit: an append that fails is never told as accepted (A13)."""
    world.now.store.fail("append", "before")
    assert isinstance(await world.accept(1), StoreUnavailable)
    assert world.database.updates == {}
    assert await world.accept(1) == UpdateAccepted(waiting=1)
    assert world.state(1) == "accepted"


async def test_accepting_costs_one_store_call(world: World) -> None:
    """No read comes before the commit, also for a chat that is not known here."""
    before = world.now.store.calls.copy()
    await world.accept(1)
    assert dict(world.now.store.calls - before) == {"append": 1}


async def test_an_update_is_accepted_once(world: World) -> None:
    """A1: the same bot and update again is a duplicate, while it waits and after it was answered."""
    assert await world.accept(1) == UpdateAccepted(waiting=1)
    assert await world.accept(1) == UpdateDuplicate()
    await world.agent.take_turn(CHAT)
    await world.idle()
    assert await world.accept(1) == UpdateDuplicate()
    await world.settle()
    assert world.screen.texts(CHAT) == ["echo: hello"]
    assert world.counted()["duplicates"] == 2


async def test_the_same_update_twenty_times_at_once(world: World) -> None:
    """Exactly one of many deliveries at once is accepted."""
    replies = await asyncio.gather(*(world.accept(1) for _ in range(20)))
    assert sum(isinstance(reply, UpdateAccepted) for reply in replies) == 1
    assert replies.count(UpdateDuplicate()) == 19


async def test_a_duplicate_known_here_costs_no_store_call(world: World) -> None:
    """An update that waits in this mailbox is recognised in memory."""
    await world.accept(1)
    await world.accept(1)
    assert world.now.store.calls["append"] == 1


@pytest.mark.parametrize("ids", [(5, 900, 1, 2**40), (3, 2, 1)])
async def test_ids_say_nothing_about_order(world: World, ids: tuple[int, ...]) -> None:
    """A3: order is that of acceptance, whatever the ids."""
    for update in ids:
        await world.accept(update, str(update))
    await world.agent.take_turn(CHAT)
    await world.idle()
    assert world.screen.texts(CHAT) == [f"echo: {update}" for update in ids]


async def test_the_mailbox_is_bounded() -> None:
    """I7: beyond the bound the update is refused and not written; the chat goes on, and others are not concerned."""
    world = World(mailbox_limit=3)
    await world.boot()
    for update in range(3):
        await world.accept(update)
    full = await world.accept(9)
    assert isinstance(full, MailboxFull)
    assert (full.retry, full.retry_after_s) == (True, 5.0)
    assert f"{BOT}:9" not in world.database.updates
    assert await world.accept(10, chat=CHAT + 1) == UpdateAccepted(waiting=1)
    await world.settle()
    assert await world.accept(9, "now") == UpdateAccepted(waiting=1)
    await world.bury()


@pytest.mark.parametrize("verdict", ["ignored", "refused", "quarantined"])
async def test_what_is_not_to_be_answered_ends_at_once(world: World, verdict: Verdict) -> None:
    """It is recorded with its reason, its body cut to 64 kB, and no turn waits for it."""
    request = AcceptUpdate(
        bot=BOT,
        update=1,
        incoming=Incoming(kind="poll", chat=CHAT),
        verdict=verdict,
        reason="because",
        raw=b"x" * 100_000,
    )
    assert await world.ask(request) == UpdateAccepted()
    stored = world.database.updates[f"{BOT}:1"]
    assert (stored.state, stored.open, stored.reason) == (verdict, False, "because")
    assert len(world.turn(1).raw) == 64 * 1024
    assert await world.ask(request) == UpdateDuplicate()
    assert await world.ask(ClaimTurn(chat=CHAT, owner="one")) == NothingWaiting(chat=CHAT)


@pytest.mark.parametrize("mishap", ["after", "hang applied"])
async def test_an_append_whose_reply_was_lost(world: World, mishap: Mishap) -> None:
    """C9: it is no acceptance; brought again it is a duplicate, and then its turn starts, in its place."""
    world.now.store.fail("append", None, mishap)
    await world.accept(1, "one")
    assert isinstance(await world.accept(2, "two"), StoreUnavailable)
    await world.accept(3, "three")
    assert await world.accept(2, "two") == UpdateDuplicate()
    await world.agent.take_turn(CHAT)
    await world.idle()
    assert world.screen.texts(CHAT) == ["echo: one", "echo: two", "echo: three"]


async def test_a_duplicate_of_what_another_container_accepted_starts_its_turn(world: World) -> None:
    """A container that believes to know the mailbox looks again when it meets an update it does not know."""
    other = world.now
    await world.boot(beside=True)
    world.shard_place.second = None
    await world.accept(1, "one")
    world.shard_place.actor = other.shard
    await world.accept(2, "two")
    world.shard_place.actor = world.now.shard
    assert await world.accept(2, "two") == UpdateDuplicate()
    claimed = await world.ask(ClaimTurn(chat=CHAT, owner="one"))
    assert isinstance(claimed, TurnClaimed)
    await world.settle()
    assert world.screen.texts(CHAT) == ["echo: one", "echo: two"]


async def test_appends_behind_one_that_hangs_do_not_add_up(world: World) -> None:
    """I7: who waits for a stuck append is told so within a bound, however many wait."""
    world.now.store.fail("append", *HANGS)
    started = asyncio.get_running_loop().time()
    replies = await asyncio.gather(*(world.accept(update) for update in range(10)))
    assert {type(reply) for reply in replies} == {StoreUnavailable}
    assert asyncio.get_running_loop().time() - started <= STORE_DEADLINE_S
    assert world.now.store.calls["append"] == 1


async def test_chats_do_not_wait_for_one_another(world: World) -> None:
    """A stuck append of one chat holds no other chat up."""
    world.now.store.fail("append", "hang")
    stuck = asyncio.create_task(world.accept(1))
    await asyncio.sleep(0.1)
    assert await world.accept(2, chat=CHAT + 1) == UpdateAccepted(waiting=1)
    assert not stuck.done()
    await stuck


async def test_a_duplicate_that_is_not_known_here_is_looked_for(world: World) -> None:
    """Another container accepted it at the end of a mailbox that seems whole here: the next claim reads."""
    await world.accept(1)
    other = world.now
    await world.boot()
    await world.accept(2)
    world.shard_place.actor = other.shard
    assert await world.accept(2) == UpdateDuplicate()
    other.store.calls.clear()
    await world.ask(ClaimTurn(chat=CHAT, owner="one"))
    assert other.store.calls["read_chat"] == 1
