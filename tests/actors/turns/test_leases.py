"""Leases: one owner at a time, renewed, handed back, and what becomes of turns that take their owners down."""

import asyncio

import msgspec
import pytest

from actors import turns
from actors.mailbox import LEASE_S
from contracts.faults import LeaseLost, StoreUnavailable
from contracts.sessions import (
    ClaimTurn,
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
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import BOT, CHAT, World
from tests.actors.turns.steps import claim, commit

AWAY: list[Mishap] = ["before"] * 9


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
    """Release ends the lease here and in the store, which keeps that there was an attempt."""
    await world.accept(1)
    claimed = await claim(world)
    await asyncio.sleep(0.1)
    assert await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease)) == TurnReleased()
    nobody, _ = world.database.leases[CHAT]
    assert ("", 1) == (nobody.owner, nobody.attempt)
    assert (await claim(world, "two")).attempt == 2


@pytest.mark.parametrize(("stopping", "attempts"), [(True, [1, 2, 3, 3, 4, 5]), (False, [1, 2, 3, 4, 5, 6])])
async def test_a_handed_back_turn_keeps_the_count_of_its_owners(
    world: World, stopping: bool, attempts: list[int]
) -> None:
    """Whoever has it next, in another container: what a stopping one hands back did not take that one down."""
    await world.accept(1)
    got: list[int] = []
    for number in range(len(attempts)):
        claimed = await claim(world, f"owner-{number}")
        got.append(claimed.attempt)
        await asyncio.sleep(1.0)
        if number == 2:
            await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease, stopping=stopping))
        world.now.kill()
        await asyncio.sleep(20.0)
        await world.boot()
    assert attempts == got


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


async def test_a_turn_that_takes_its_owners_down_is_dead_lettered(world: World) -> None:
    """After five attempts only a notice is worth one more; then it ends with the reason, and the chat goes on."""
    await world.accept(1, "poison")
    await world.accept(2, "fine")
    for attempt in range(1, 7):
        claimed = await claim(world)
        assert (claimed.update, claimed.attempt, bool(claimed.gave_up)) == (1, attempt, attempt == 6)
        await asyncio.sleep(LEASE_S)
    assert (await claim(world)).update == 2
    assert world.state(1) == "dead_lettered"
    assert world.database.updates[f"{BOT}:1"].reason == "5 attempts ended without an answer"


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


async def test_a_claim_whose_answer_was_lost_is_given_again(world: World) -> None:
    """D4: the same owner gets the same lease, as the same attempt; nobody else does."""
    await world.accept(1)
    first = await claim(world)
    assert await claim(world) == first
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), TurnHeld)


async def test_a_failed_append_is_looked_for_at_the_next_claim(world: World) -> None:
    """What may have been accepted is found without waiting for anybody to bring it again."""
    await world.accept(1)
    world.now.store.fail("append", "after")
    await world.accept(2)
    world.now.store.calls.clear()
    await claim(world)
    assert world.now.store.calls["read_chat"] == 1


async def test_a_resumption_that_fails_often_costs_no_attempt(world: World) -> None:
    """Also where the session, not the mailbox, could not be read."""
    await world.say(1)
    await world.idle()
    await world.accept(2)
    world.now.shard.sessions.unlearn(CHAT)
    world.now.store.fail("read_sessions", *AWAY)
    for _ in AWAY:
        assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="one")), StoreUnavailable)
    assert (await claim(world)).attempt == 1


@pytest.mark.parametrize("mishap", ["before", "after"])
async def test_what_was_surely_not_sent_stays_so_when_a_resumption_fails(
    world: World, mishap: Mishap
) -> None:
    """I2: neither its owner nor the next one, who was never told to, has sent it: nothing about it is unknown."""
    await world.accept(1)
    claimed = await claim(world)
    await world.ask(commit(claimed, "one"))
    await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease, unsent=True))
    for _ in range(6):
        world.now.store.fail("write_turn", mishap)
        assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), StoreUnavailable)
        await asyncio.sleep(LEASE_S)
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="three")), OutboxClaimed)


async def test_a_claim_that_fails_behind_its_repetition_says_nothing_of_what_was_sent(world: World) -> None:
    """I2: the same lease was given again meanwhile, and its owner may have sent the chunk."""
    await world.say(1)
    await world.idle()
    await world.accept(2)
    world.now.shard.sessions.unlearn(CHAT)
    world.now.store.fail("read_sessions", "hang")
    first = asyncio.create_task(world.ask(ClaimTurn(chat=CHAT, owner="one")))
    await asyncio.sleep(0.1)
    await world.ask(commit(await claim(world), "one", "two"))
    assert isinstance(await first, StoreUnavailable)
    await asyncio.sleep(LEASE_S)
    resumed = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(resumed, OutboxClaimed)
    assert ["unknown", "sending"] == [chunk.state for chunk in resumed.chunks]


async def test_a_lease_given_up_is_not_written_late(world: World) -> None:
    """Its write waits beside the work; once the turn was handed back, it would keep others away for nothing."""
    world.now.shard_background.gate.clear()
    await world.accept(1)
    claimed = await claim(world)
    await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease))
    world.now.shard_background.gate.set()
    await asyncio.sleep(0.1)
    assert world.database.leases == {}
