"""D5: two containers own one shard at the same time, and calls reach either; nobody notices."""

import asyncio
import random

import msgspec
import pytest

from actors.mailbox import LEASE_S
from actors.ports import Prompt
from actors.stores import LeaseRecord
from contracts.faults import LeaseLost
from contracts.sessions import (
    AcceptUpdate,
    ClaimTurn,
    DeliveryRecorded,
    LeaseRenewed,
    LoadSession,
    MarkDelivered,
    NothingWaiting,
    OutboxClaimed,
    ReleaseTurn,
    RenewLease,
    SessionLoaded,
    SessionPatch,
    SweepTurns,
    TurnClaimed,
    TurnCommitted,
    TurnHeld,
)
from tests.actors.turn_kit import BOT, CHAT, Container, World, said
from tests.actors.turns.steps import claim, commit

SECONDS_OF_NO_SWEEP = 5.0  # far below a lease, after which a sweeper would put right what went wrong


@pytest.fixture
async def other(world: World) -> Container:
    """The shard's owner beside the one that runs; `at` says who gets the calls."""
    first = world.now
    await world.boot()
    at(world, first)
    return world.containers[-1]


def at(world: World, container: Container) -> None:
    """Route the shard's calls to this container."""
    world.shard_place.actor = container.shard


def held_back(container: Container) -> None:
    """Let nothing that runs beside the requests begin."""
    container.shard_background.gate.clear()


async def overtaken(world: World, other: Container) -> tuple[TurnClaimed, TurnClaimed]:
    """Both owners give one turn away, and `other`'s commits; gives the claims of loser and winner."""
    held_back(world.containers[0])
    await world.accept(1)
    loser = await claim(world)
    at(world, other)
    winner = await claim(world, "two")
    await world.ask(commit(winner, "one"))
    return loser, winner


# ---------------------------------------------------------------- the lease is in the commit (K3)


async def test_a_committed_turn_is_held_although_its_lease_was_never_written_beside_it(
    world: World, other: Container
) -> None:
    """I2, I3: the other owner waits for who is sending, instead of ending the turn and going on with the next."""
    held_back(world.containers[0])
    await world.accept(1)
    claimed = await claim(world)
    await world.ask(commit(claimed, "one"))
    at(world, other)
    await world.accept(2)
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), TurnHeld)
    at(world, world.containers[0])
    sent = MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=claimed.lease, index=0)
    assert await world.ask(sent) == DeliveryRecorded(ended=True, waiting=1)
    assert world.state(1) == "answered"


async def test_every_step_renews_the_stored_lease(world: World) -> None:
    """A reply of many chunks is as alive as its last recorded one, however late its heartbeat is."""
    held_back(world.now)
    await world.accept(1)
    claimed = await claim(world)
    await world.ask(commit(claimed, "one", "two"))
    await asyncio.sleep(10.0)
    await world.ask(MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=claimed.lease, index=0))
    stored = (await world.now.store.read_chat(CHAT)).lease
    assert stored is not None
    assert (stored.lease, stored.age_s) == (claimed.lease, 0.0)


# ---------------------------------------------------------------- memory is doubted before it refuses


async def test_each_step_of_a_turn_may_reach_another_owner(world: World, other: Container) -> None:
    """Memory that is older than the store refuses nobody who has the turn."""
    first = world.containers[0]
    at(world, other)
    await world.accept(1)
    await world.ask(RenewLease(chat=CHAT, lease="nobody's"))
    at(world, first)
    claimed = await claim(world)
    at(world, other)
    assert isinstance(await world.ask(RenewLease(chat=CHAT, lease=claimed.lease)), LeaseRenewed)
    at(world, first)
    assert isinstance(await world.ask(commit(claimed, "one", "two")), TurnCommitted)
    at(world, other)
    one = MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=claimed.lease, index=0)
    assert await world.ask(one) == DeliveryRecorded(next=1, waiting=1)
    at(world, first)
    two = MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=claimed.lease, index=1)
    assert await world.ask(two) == DeliveryRecorded(ended=True)
    assert world.state(1) == "answered"


async def test_a_claim_names_the_update_that_a_memory_has_not_seen(world: World, other: Container) -> None:
    """The ticket of a chat's second message is worked at once by the owner that only knows the first."""
    await world.accept(1)
    at(world, other)
    claimed = await claim(world)
    await world.ask(commit(claimed))
    await world.accept(2)
    at(world, world.containers[0])
    named = await world.ask(ClaimTurn(chat=CHAT, owner="two", bot=BOT, update=2))
    assert isinstance(named, TurnClaimed)
    assert named.update == 2


async def test_a_repeated_claim_is_not_answered_from_an_outdated_memory(
    world: World, other: Container
) -> None:
    """The turn that this owner had begun was ended through the other one: there is nothing to begin again."""
    await world.accept(1)
    claimed = await claim(world)
    at(world, other)
    await world.ask(commit(claimed))
    at(world, world.containers[0])
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="one")), NothingWaiting)


async def test_a_turn_is_not_taken_over_from_an_owner_that_the_store_knows_to_live(
    world: World, other: Container
) -> None:
    """I2: a lease that ran out in one memory was renewed through the other owner."""
    await world.accept(1)
    claimed = await claim(world)
    await world.ask(commit(claimed, "one"))
    for _ in range(4):
        await asyncio.sleep(5.0)
        at(world, other)
        assert isinstance(await world.ask(RenewLease(chat=CHAT, lease=claimed.lease)), LeaseRenewed)
    at(world, world.containers[0])
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), TurnHeld)
    assert world.state(1) == "committed"


async def test_a_turn_may_be_handed_back_to_the_other_owner(world: World, other: Container) -> None:
    """It is free at once, and does not wait for its lease to run out."""
    await world.accept(1)
    at(world, other)
    await world.ask(RenewLease(chat=CHAT, lease="nobody's"))
    at(world, world.containers[0])
    claimed = await claim(world)
    at(world, other)
    await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease))
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), TurnClaimed)


async def test_a_loser_that_hands_back_does_not_free_the_turn_of_the_winner(
    world: World, other: Container
) -> None:
    """I2: both owners gave the turn away; the one that lost gives up its own lease only."""
    loser, _ = await overtaken(world, other)
    at(world, world.containers[0])
    await world.ask(ReleaseTurn(chat=CHAT, lease=loser.lease))
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="three")), TurnHeld)
    assert world.state(1) == "committed"


async def test_two_owners_that_end_a_turn_are_not_taken_for_one(world: World, other: Container) -> None:
    """Whoever comes second with another end is told so: it is no repetition of the first one's write."""
    await world.accept(1)
    first = await claim(world)
    await world.ask(commit(first, "one"))
    await asyncio.sleep(LEASE_S)
    at(world, other)
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), NothingWaiting)
    at(world, world.containers[0])
    sent = MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=first.lease, index=0)
    assert isinstance(await world.ask(sent), LeaseLost)
    assert world.state(1) == "unknown"


async def test_a_commit_that_both_owners_got_leaves_one_session(world: World, other: Container) -> None:
    """I4: the owner whose write finds the turn committed serves what the other one wrote, not its own making."""
    await world.accept(1)
    claimed = await claim(world)
    at(world, other)
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), TurnHeld)
    request = msgspec.structs.replace(commit(claimed, "one"), patch=SessionPatch(mode="brief"))
    at(world, world.containers[0])
    assert isinstance(await world.ask(request), TurnCommitted)
    at(world, other)
    await asyncio.sleep(1.0)  # so that the session that it would make is a second younger
    assert isinstance(await world.ask(request), TurnCommitted)
    loaded = await world.ask(LoadSession(chat=CHAT))
    assert isinstance(loaded, SessionLoaded)
    assert loaded.session == world.session()


async def test_who_lost_a_turn_holds_it_up_for_nobody(world: World, other: Container) -> None:
    """The lease that lost is dropped with the commit that lost, and does not live on in this memory."""
    loser, winner = await overtaken(world, other)
    unsent = MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=winner.lease, index=0, state="planned")
    await world.ask(unsent)
    await world.ask(ReleaseTurn(chat=CHAT, lease=winner.lease))
    at(world, world.containers[0])
    assert isinstance(await world.ask(commit(loser, "one")), LeaseLost)
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="three")), OutboxClaimed)


async def test_a_lease_that_is_stored_late_takes_no_turn_from_who_is_sending(
    world: World, other: Container
) -> None:
    """I2: the loser's lease came over the winner's; it claims once more, and must wait."""
    _, winner = await overtaken(world, other)
    late = LeaseRecord(lease="late", owner="one", update_key=f"{BOT}:1")
    await world.now.store.write_lease(CHAT, late)
    for container in world.containers:
        at(world, container)
        assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="one")), TurnHeld)
    sent = MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=winner.lease, index=0)
    assert await world.ask(sent) == DeliveryRecorded(ended=True)
    assert world.state(1) == "answered"


async def test_an_append_whose_reply_was_lost_makes_the_memory_suspect(
    world: World, other: Container
) -> None:
    """What came with it and what the other owner ended meanwhile make the same number, and another mailbox."""
    first = world.containers[0]
    await world.accept(1)
    first.store.fail("append", "after")
    await world.accept(2)
    at(world, other)
    await world.ask(commit(await claim(world)))
    at(world, first)
    await world.accept(3)
    assert (await claim(world, "two")).update == 2


async def test_a_mailbox_that_an_append_makes_meanwhile_is_not_taken_for_read(
    world: World, other: Container
) -> None:
    """While one owner waits for the answer to its append, the other commits the turn: the first hears its sender."""
    first = world.containers[0]
    first.store.fail("append", "late")
    accepting = asyncio.create_task(world.accept(1))
    await asyncio.sleep(0.1)
    await committed_by(world, other, told=first)
    await accepting


async def committed_by(world: World, owner: Container, told: Container) -> None:
    """One owner commits the turn, and the other hears that its message was sent."""
    at(world, owner)
    claimed = await claim(world)
    await world.ask(commit(claimed, "one"))
    at(world, told)
    sent = MarkDelivered(chat=CHAT, bot=BOT, update=1, lease=claimed.lease, index=0)
    assert isinstance(await world.ask(sent), DeliveryRecorded)
    assert world.state(1) == "answered"


async def test_a_reading_clears_no_doubt_that_came_after_it_began(world: World, other: Container) -> None:
    """While one owner waits for what its sweep reads, the other commits the turn: the first reads again."""
    first = world.containers[0]
    await world.accept(1)
    first.store.fail("read_chats", "late")
    sweeping = asyncio.create_task(world.ask(SweepTurns()))
    await asyncio.sleep(0.1)
    await committed_by(world, other, told=first)
    await sweeping


async def test_a_reading_clears_no_doubt_of_the_sweep_s(world: World, other: Container) -> None:
    """What the sweep finds in the store may be later than what a claim is reading: the next look reads again."""
    first = world.containers[0]
    await world.accept(1)
    first.store.fail("append", "before")
    await world.accept(3)  # so that the claim reads
    first.store.fail("read_chat", "late")
    claiming = asyncio.create_task(world.ask(ClaimTurn(chat=CHAT, owner="one")))
    await asyncio.sleep(0.1)
    at(world, other)
    await world.accept(2)
    at(world, first)
    await world.ask(SweepTurns())
    await claiming
    before = first.store.calls["read_chat"]
    await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert first.store.calls["read_chat"] == before + 1


async def test_a_lease_that_is_stored_after_its_turn_has_ended_holds_nobody_up(
    world: World, other: Container
) -> None:
    """Two owners gave the next turn away; the lease of the last one, still in the store, lets neither win."""
    await world.accept(1)
    await world.ask(commit(await claim(world)))
    late = LeaseRecord(lease="late", owner="one", update_key=f"{BOT}:1")
    await world.now.store.write_lease(CHAT, late)
    held_back(world.containers[0])
    held_back(other)
    await world.accept(2)
    first = await claim(world, "two")
    at(world, other)
    await claim(world, "three")
    assert isinstance(await world.ask(commit(first, "two")), TurnCommitted)


# ---------------------------------------------------------------- a session is never stale (K1)


async def test_an_answer_sees_what_the_other_owner_answered(world: World, other: Container) -> None:
    """I4: the append tells that the session was written elsewhere, so that it is read before the next turn."""
    await world.say(1, "one")
    await world.idle()
    at(world, other)
    await world.say(2, "two")
    await world.idle()
    at(world, world.containers[0])
    await world.accept(3, "three")
    claimed = await claim(world)
    assert [m.text for m in claimed.session.messages] == ["one", "echo: one", "two", "echo: two"]


async def test_a_warm_chat_of_one_owner_costs_no_read_and_three_writes(world: World) -> None:
    """The revision comes with the append: append, commit and the end are all that a turn asks of the store."""
    await world.say(1)
    await world.idle()
    world.now.store.calls.clear()
    held_back(world.now)
    await world.say(2)
    await world.idle()
    assert dict(world.now.store.calls) == {"append": 1, "write_turn": 2}
    assert world.state(2) == "answered"


# ---------------------------------------------------------------- all at once


@pytest.mark.parametrize("seed", range(40))
async def test_every_turn_is_answered_at_once_whoever_is_asked(seed: int) -> None:
    """I1, I2, I3: with each call routed by chance, no turn waits for a sweep, none is unknown or stale, in order."""
    chance = random.Random(seed)
    world = World(pick=lambda: chance.random() < 0.5)
    await world.boot()
    await world.boot(beside=True)
    for container in world.containers:
        container.store.latency_s, container.model.chaos = 0.003, _with_history
        container.model.took_s, world.screen.took_s = chance.choice((0.001, 0.05)), 0.004
    await asyncio.gather(*(_chat(world, chat, random.Random(seed * 100 + chat)) for chat in range(1, 5)))
    async with asyncio.timeout(SECONDS_OF_NO_SWEEP):
        await world.idle()
    assert set(world.database.states().values()) == {"answered"}
    for chat in range(1, 5):
        expected = [f"{number} after {2 * number - 2}" for number in range(1, 9)]
        assert world.screen.texts(chat) == expected
        stored = [message.text for message in world.session(chat).messages]
        assert stored == [text for number in range(8) for text in (str(number + 1), expected[number])]
    await world.bury()


async def _chat(world: World, chat: int, chance: random.Random) -> None:
    for number in range(1, 9):
        update = chat * 100 + number
        await world.ask(AcceptUpdate(bot=BOT, update=update, incoming=said(str(number), chat)))
        await world.agent.take_turn(chat, BOT, update)
        await asyncio.sleep(chance.choice((0.0, 0.002, 0.02, 0.2)))


def _with_history(prompt: Prompt) -> str:
    """Tell how many messages came before the one to answer."""
    return f"{prompt.messages[-1].text} after {len(prompt.messages) - 1}"
