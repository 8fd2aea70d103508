"""Leases: one owner at a time, renewed, handed back, taken over when dead, adopted after the shard's restart."""

import asyncio

import msgspec
import pytest

from actors import turns
from actors.mailbox import LEASE_S
from contracts.faults import LeaseLost, StoreUnavailable
from contracts.sessions import (
    ClaimTurn,
    CommitTurn,
    LeaseRenewed,
    NothingWaiting,
    OutboxClaimed,
    ReleaseTurn,
    RenewLease,
    TurnClaimed,
    TurnCommitted,
    TurnHeld,
    TurnReleased,
)
from contracts.turns import Chunk
from tests.actors.fakes import Mishap
from tests.actors.turn_kit import BOT, CHAT, World

AWAY: list[Mishap] = ["before"] * 9


async def claim(world: World, owner: str = "one") -> TurnClaimed:
    """Claim the chat's next turn, which is free."""
    claimed = await world.ask(ClaimTurn(chat=CHAT, owner=owner))
    assert isinstance(claimed, TurnClaimed)
    return claimed


def commit(claimed: TurnClaimed, *texts: str) -> CommitTurn:
    """Commit a claimed turn with these chunks."""
    chunks = tuple(Chunk(text=text) for text in texts)
    return CommitTurn(chat=CHAT, bot=claimed.bot, update=claimed.update, lease=claimed.lease, chunks=chunks)


async def test_an_empty_mailbox_has_nothing_to_claim(world: World) -> None:
    """Nothing waits, so nothing is leased."""
    assert await world.ask(ClaimTurn(chat=CHAT, owner="one")) == NothingWaiting(chat=CHAT)


async def test_one_turn_at_a_time(world: World) -> None:
    """While one owner has the chat's turn, another is told how long to wait at most."""
    await world.accept(1)
    await world.accept(2)
    claimed = await claim(world)
    held = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert (claimed.update, claimed.attempt, claimed.lease_s) == (1, 1, LEASE_S)
    assert held == TurnHeld(chat=CHAT, retry_after_s=LEASE_S)


async def test_of_many_claims_at_once_one_wins(world: World) -> None:
    """Also on a cold shard, where all of them wait for the same reading of the mailbox."""
    await world.accept(1)
    await world.boot()
    replies = await asyncio.gather(*(world.ask(ClaimTurn(chat=CHAT, owner=str(n))) for n in range(20)))
    assert sum(isinstance(reply, TurnClaimed) for reply in replies) == 1
    assert sum(isinstance(reply, TurnHeld) for reply in replies) == 19


async def test_a_claim_of_a_warm_chat_reads_nothing(world: World) -> None:
    """The mailbox is known from the accepts, the session from the turn before."""
    await world.say(1)
    await world.idle()
    reads = world.now.meter.request_reads.calls
    await world.accept(2)
    await claim(world)
    assert world.now.meter.request_reads.calls == reads


async def test_a_turn_whose_owner_is_silent_is_free_after_15_s(world: World) -> None:
    """The lease runs out, the next owner has a second attempt, the first has lost it."""
    await world.accept(1)
    first = await claim(world)
    await asyncio.sleep(LEASE_S)
    second = await claim(world, "two")
    assert (second.attempt, second.lease != first.lease) == (2, True)
    assert isinstance(await world.ask(RenewLease(chat=CHAT, lease=first.lease)), LeaseLost)
    assert isinstance(await world.ask(commit(first)), LeaseLost)
    assert isinstance(await world.ask(commit(second)), TurnCommitted)


async def test_a_renewed_lease_holds(world: World) -> None:
    """Renewed every 10 s, it holds for a minute, also in the store."""
    await world.accept(1)
    claimed = await claim(world)
    for _ in range(6):
        await asyncio.sleep(10.0)
        assert await world.ask(RenewLease(chat=CHAT, lease=claimed.lease)) == LeaseRenewed(lease_s=LEASE_S)
        assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), TurnHeld)
    await asyncio.sleep(0.1)
    assert world.database.leases[CHAT][1] >= asyncio.get_running_loop().time() - 1


async def test_a_lease_is_for_its_turn_only(world: World) -> None:
    """The lease of an ended turn renews nothing, and does not become the next turn's."""
    await world.accept(1)
    await world.accept(2)
    first = await claim(world)
    await world.ask(commit(first))
    assert isinstance(await world.ask(RenewLease(chat=CHAT, lease=first.lease)), LeaseLost)
    assert (await claim(world, "two")).update == 2
    wrong = msgspec.structs.replace(commit(first), update=2)
    assert isinstance(await world.ask(wrong), LeaseLost)


async def test_a_turn_handed_back_is_free_at_once(world: World) -> None:
    """Release ends the lease here and in the store."""
    await world.accept(1)
    claimed = await claim(world)
    await asyncio.sleep(0.1)
    assert await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease)) == TurnReleased()
    assert world.database.leases == {}
    assert (await claim(world, "two")).attempt == 2


async def test_a_turn_handed_back_for_later(world: World) -> None:
    """It waits as long as asked, nobody gets it before, and the wait is no failed attempt."""
    await world.accept(1)
    claimed = await claim(world)
    await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease, retry_after_s=300.0))
    assert await world.ask(ClaimTurn(chat=CHAT, owner="two")) == TurnHeld(chat=CHAT, retry_after_s=300.0)
    await asyncio.sleep(300.0)
    assert (await claim(world, "two")).attempt == 1


async def test_a_strangers_release_changes_nothing(world: World) -> None:
    """Only the owner can hand a turn back."""
    await world.accept(1)
    await claim(world)
    assert await world.ask(ReleaseTurn(chat=CHAT, lease="strange")) == TurnReleased()
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), TurnHeld)


async def test_a_release_after_the_shards_restart(world: World) -> None:
    """The lease that stands in the store is given up, although this shard never gave it."""
    await world.accept(1)
    claimed = await claim(world)
    await asyncio.sleep(0.1)
    await world.boot()
    await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease))
    assert (await claim(world, "two")).update == 1


# ---------------------------------------------------------------- restarts and second owners


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


# ---------------------------------------------------------------- poison and outages


async def test_a_turn_that_takes_its_owners_down_is_dead_lettered(world: World) -> None:
    """After five attempts it ends with the reason, and the chat goes on."""
    await world.accept(1, "poison")
    await world.accept(2, "fine")
    for attempt in range(1, 6):
        assert ((await claim(world)).update, attempt) == (1, attempt)
        await asyncio.sleep(LEASE_S)
    assert (await claim(world)).update == 2
    assert world.state(1) == "dead_lettered"
    assert world.database.updates[f"{BOT}:1"].reason == "5 attempts ended without an answer"


async def test_attempts_outlive_the_shard(world: World) -> None:
    """They stand in the stored lease, so that restarts do not begin to count anew."""
    await world.accept(1)
    for attempt in range(1, 4):
        assert (await claim(world)).attempt == attempt
        await asyncio.sleep(LEASE_S)
        await world.boot()


async def test_a_store_that_is_away_costs_no_attempt(world: World) -> None:
    """A claim that failed for want of the store leaves the turn free and its attempts as they were."""
    await world.accept(1)
    await world.boot()
    world.now.store.fail("read_chat", *AWAY)
    for _ in range(9):
        assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="one")), StoreUnavailable)
    assert (await claim(world)).attempt == 1


async def test_an_unreadable_update_is_dead_lettered_and_the_chat_goes_on(world: World) -> None:
    """C8: a record that nobody can read is set aside with its reason."""
    await world.accept(1)
    await world.accept(2)
    record = world.database.updates[f"{BOT}:1"]
    world.database.updates[record.key] = msgspec.structs.replace(record, body=b"\xc1")
    await world.boot()
    assert (await claim(world)).update == 2
    assert (world.state(1), world.database.updates[record.key].reason) == (
        "dead_lettered",
        "unreadable record",
    )
    assert turns.unpack(world.database.updates[record.key]).incoming.kind == "unreadable"


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


async def test_a_claim_whose_answer_was_lost_is_given_again(world: World) -> None:
    """D4: the same owner gets the same lease, as the same attempt; nobody else does."""
    await world.accept(1)
    first = await claim(world)
    assert await claim(world) == first
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), TurnHeld)


async def test_a_resumption_whose_answer_was_lost_is_given_again(world: World) -> None:
    """The chunk that it marked was not sent, so it is told again, and not taken for unknown."""
    await world.accept(1)
    await world.ask(commit(await claim(world), "one", "two", "three"))
    await asyncio.sleep(LEASE_S)
    first = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(first, OutboxClaimed)
    assert await world.ask(ClaimTurn(chat=CHAT, owner="two")) == first
    assert [chunk.state for chunk in world.turn(1).chunks] == ["unknown", "sending", "planned"]
