"""Leases over restarts and between two owners of a shard: adopted, looked up, fenced off."""

import asyncio

import pytest

from actors.mailbox import LEASE_S
from contracts.faults import LeaseLost
from contracts.sessions import (
    BeginSending,
    ClaimTurn,
    CommitTurn,
    LeaseRenewed,
    MarkDelivered,
    OutboxClaimed,
    ReleaseTurn,
    RenewLease,
    TurnClaimed,
    TurnCommitted,
    TurnHeld,
)
from tests.actors.turn_kit import BOT, CHAT, World
from tests.actors.turns.steps import claim, commit


async def test_a_lease_outlives_the_shard(world: World) -> None:
    """A new container honours the stored lease by its age, and its owner goes on under it."""
    await world.accept(1)
    claimed = await claim(world)
    await asyncio.sleep(5.0)
    await world.boot()
    held = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(held, TurnHeld)
    assert held.retry_after_s == pytest.approx(LEASE_S - 5.0)
    assert isinstance(await world.ask(RenewLease(chat=CHAT, lease=claimed.lease)), LeaseRenewed)
    assert isinstance(await world.ask(commit(claimed)), TurnCommitted)


async def test_a_lease_that_was_never_stored_is_adopted_by_its_commit(world: World) -> None:
    """The shard died before it wrote the lease: the work is not thrown away when nobody else has begun it."""
    world.now.store.fail("write_lease", "before")
    await world.accept(1)
    claimed = await claim(world)
    await world.boot()
    assert isinstance(await world.ask(commit(claimed)), TurnCommitted)


async def test_an_unknown_lease_is_not_adopted_beside_a_living_one(world: World) -> None:
    """Who claimed at the new container has the turn."""
    world.now.store.fail("write_lease", "before")
    await world.accept(1)
    first = await claim(world)
    await world.boot()
    await claim(world, "two")
    assert isinstance(await world.ask(commit(first)), LeaseLost)


async def test_of_two_owners_one_commits(world: World) -> None:
    """D5: two shards lease the same turn; the version decides, and the loser is told that it lost."""
    await world.accept(1)
    old = world.now
    old.store.fail("write_lease", "before")
    first = await claim(world)
    await world.boot()
    second = await claim(world, "two")
    assert isinstance(await world.ask(commit(second, "seen")), TurnCommitted)
    world.shard_place.actor = old.shard
    assert isinstance(await world.ask(commit(first, "never")), LeaseLost)
    assert [chunk.text for chunk in world.turn(1).chunks] == ["seen"]


async def test_an_owner_that_was_slow_cannot_go_on_sending(world: World) -> None:
    """I2: the turn was resumed under a new lease, so the old owner's repeated commit gets no chunks to send."""
    await world.accept(1)
    first = await claim(world)
    await world.ask(commit(first, "one", "two"))
    await asyncio.sleep(LEASE_S)
    resumed = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(resumed, OutboxClaimed)
    assert [chunk.state for chunk in resumed.chunks] == ["unknown", "sending"]
    await asyncio.sleep(LEASE_S)
    assert isinstance(await world.ask(commit(first, "one", "two")), LeaseLost)


async def test_attempts_outlive_the_shard(world: World) -> None:
    """They stand in the stored lease, so that restarts do not begin to count anew."""
    await world.accept(1)
    for attempt in range(1, 4):
        assert (await claim(world)).attempt == attempt
        await asyncio.sleep(LEASE_S)
        await world.boot()


async def test_a_release_after_the_shards_restart(world: World) -> None:
    """The lease that stands in the store is given up, although this shard never gave it."""
    await world.accept(1)
    claimed = await claim(world)
    await asyncio.sleep(0.1)
    await world.boot()
    await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease))
    assert (await claim(world, "two")).update == 1


@pytest.mark.parametrize(
    "request_", [RenewLease(chat=CHAT, lease="x"), CommitTurn(chat=CHAT, bot=BOT, update=1, lease="x")]
)
async def test_a_stale_request_to_an_empty_chat_leaves_nothing_behind(
    world: World, request_: RenewLease | CommitTurn
) -> None:
    """The mailbox that was read for it is not kept as known, so that what others accept is found."""
    assert isinstance(await world.ask(request_), LeaseLost)
    old = world.now
    await world.boot()
    await world.accept(1)
    world.shard_place.actor = old.shard
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="one")), TurnClaimed)


async def test_a_lease_of_another_container_is_looked_up_before_it_is_called_lost(world: World) -> None:
    """D5: a heartbeat that reaches the second owner of the shard keeps the turn, so that its work is not in vain."""
    await world.accept(1)
    await claim(world)
    await asyncio.sleep(LEASE_S)
    old = world.now
    await world.boot()
    second = await claim(world, "two")
    await asyncio.sleep(1.0)
    world.shard_place.actor = old.shard
    assert await world.ask(RenewLease(chat=CHAT, lease=second.lease)) == LeaseRenewed(lease_s=LEASE_S)
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="three")), TurnHeld)


async def test_an_owner_fenced_off_cannot_record_or_begin(world: World) -> None:
    """I2: whoever has the turn by memory alone is asked for the lease that stands in the turn itself."""
    await world.accept(1)
    first = await claim(world)
    await world.ask(commit(first, "one", "two"))
    await asyncio.sleep(LEASE_S)
    await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    await asyncio.sleep(LEASE_S)
    late = MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=first.lease, index=0, state="unknown")
    assert isinstance(await world.ask(late), LeaseLost)
    begin = BeginSending(chat=CHAT, bot=BOT, update=1, lease=first.lease, index=1)
    assert isinstance(await world.ask(begin), LeaseLost)


async def test_a_resumption_whose_answer_was_lost_is_given_again(world: World) -> None:
    """The chunk that it marked was not sent, so it is told again, and not taken for unknown."""
    await world.accept(1)
    await world.ask(commit(await claim(world), "one", "two", "three"))
    await asyncio.sleep(LEASE_S)
    first = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(first, OutboxClaimed)
    assert await world.ask(ClaimTurn(chat=CHAT, owner="two")) == first
    assert [chunk.state for chunk in world.turn(1).chunks] == ["unknown", "sending", "planned"]
