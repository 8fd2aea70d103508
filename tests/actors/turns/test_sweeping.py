"""Sweeping: finds every turn without an owner, learns mailboxes beside the requests, and costs next to nothing."""

import asyncio
from collections.abc import Callable

import pytest

from actors.mailbox import LEASE_S, Mailboxes
from actors.ports import Transport, Unreachable
from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef
from actors.turn_sweep import PURGE_EVERY_S
from app.fleet import Fleet
from app.sweeper import EVERY_S, sweep, sweep_forever
from contracts.codec import encode
from contracts.faults import StoreUnavailable
from contracts.sessions import ClaimTurn, ReleaseTurn, SweepTurns, TurnClaimed, TurnHeld, TurnsStranded
from tests.actors.fakes import VirtualClock
from tests.actors.turn_kit import BOT, CHAT, Registry, World


async def stranded(world: World) -> tuple[int, ...]:
    """What a sweep reports."""
    reply = await world.ask(SweepTurns())
    assert isinstance(reply, TurnsStranded)
    return reply.chats


async def test_a_sweep_of_nothing_is_one_query(world: World) -> None:
    """Every 5 s for ten minutes: one query each, no other call."""
    before = world.now.store.calls.copy()
    for _ in range(119):
        assert await stranded(world) == ()
        await asyncio.sleep(EVERY_S)
    assert dict(world.now.store.calls - before) == {"open_updates": 119}


async def test_expired_records_are_purged_now_and_then(world: World) -> None:
    """Not beside each sweep; expiry is counted in days."""
    await asyncio.sleep(PURGE_EVERY_S)
    for _ in range(10):
        await stranded(world)
    await asyncio.sleep(0.1)
    assert world.now.store.calls["purge"] == 1


async def test_turns_without_an_owner_are_found_longest_waiting_first(world: World) -> None:
    """Accepted, and the ticket was lost."""
    for number in range(5):
        await world.accept(number, chat=CHAT - number)
    assert await stranded(world) == tuple(CHAT - number for number in range(5))


async def test_a_turn_that_is_handed_over_twice_reads_nothing(world: World) -> None:
    """Agents that start take their time: the sweep hands over what a ticket is on its way for, and that ends first."""
    await world.accept(1)
    swept = await world.ask(SweepTurns())
    assert TurnsStranded(chats=(CHAT,), updates=((BOT, 1),)) == swept
    await world.agent.take_turn(CHAT, BOT, 1)
    await world.idle()
    before = world.now.store.calls.copy()
    await world.agent.take_turn(CHAT, BOT, 1)
    await world.idle()
    assert (dict(world.now.store.calls - before), ["echo: hello"]) == ({}, world.screen.texts(CHAT))


async def test_a_turn_that_is_handed_over_twice_takes_what_waits_by_then(world: World) -> None:
    """The chat's next message came meanwhile, and its own ticket was lost."""
    await world.say(1, "one")
    await world.idle()
    await world.accept(2, "two")
    await world.agent.take_turn(CHAT, BOT, 1)
    await world.idle()
    assert ["echo: one", "echo: two"] == world.screen.texts(CHAT)


async def test_a_turn_with_a_living_owner_is_left_alone(world: World) -> None:
    """Until its lease has run out."""
    await world.accept(1)
    await world.ask(ClaimTurn(chat=CHAT, owner="one"))
    assert await stranded(world) == ()
    await asyncio.sleep(LEASE_S)
    assert await stranded(world) == (CHAT,)


async def test_a_living_lease_in_the_store_is_left_alone(world: World) -> None:
    """A new container reports no chat whose owner, of another container, is alive."""
    await world.accept(1)
    await world.ask(ClaimTurn(chat=CHAT, owner="one"))
    await asyncio.sleep(5.0)
    await world.boot()
    assert await stranded(world) == ()
    await asyncio.sleep(LEASE_S - 5.0)
    assert await stranded(world) == (CHAT,)


async def test_a_lease_renewed_at_another_container_is_left_alone(world: World) -> None:
    """What this container remembers of the lease is older than what the store has."""
    world.now.model.took_s = 40.0
    await world.say(1)
    await asyncio.sleep(1.0)
    old = world.now
    await world.boot()
    new = world.now.shard
    world.shard_place.actor = old.shard
    for _ in range(7):
        await asyncio.sleep(5.0)
        reply = await SessionShardRef("new", Direct(new.ask)).ask(SweepTurns())
        assert reply == TurnsStranded()


async def test_a_chat_that_was_told_to_wait_is_left_alone(world: World) -> None:
    """A 429 of five minutes is not swept up before its time."""
    await world.accept(1)
    claimed = await world.ask(ClaimTurn(chat=CHAT, owner="one"))
    assert isinstance(claimed, TurnClaimed)
    await world.ask(ReleaseTurn(chat=CHAT, lease=claimed.lease, retry_after_s=300.0))
    await asyncio.sleep(299.0)
    assert await stranded(world) == ()
    await asyncio.sleep(1.0)
    assert await stranded(world) == (CHAT,)


async def test_full_mailboxes_that_wait_hide_no_stranded_chat(world: World) -> None:
    """I2: a sweep goes on where the last one ended, so that every open update has its turn to be looked at."""
    for chat in range(1, 13):
        for number in range(100):
            await world.accept(100 * chat + number, chat=chat)
        claimed = await world.ask(ClaimTurn(chat=chat, owner="one"))
        assert isinstance(claimed, TurnClaimed)
        await world.ask(ReleaseTurn(chat=chat, lease=claimed.lease, retry_after_s=300.0))
    await world.accept(9_999, chat=13)
    assert [await stranded(world) for _ in range(4)] == [(), (13,), (), (13,)]


async def test_after_a_sweep_no_request_reads(world: World) -> None:
    """A new container learns the open mailboxes and their sessions beside the requests, in two reads for all."""
    for number in range(50):
        await world.accept(number, chat=CHAT + number)
    fresh = await world.boot()
    assert len(await stranded(world)) == 50
    assert (fresh.store.calls["open_updates"], fresh.store.calls["read_chats"]) == (1, 1)
    for number in range(50):
        await world.accept(100 + number, chat=CHAT + number)
        assert isinstance(await world.ask(ClaimTurn(chat=CHAT + number, owner="one")), TurnClaimed)
    assert fresh.meter.request_reads.calls == 0
    assert fresh.meter.background_reads.calls == 5


async def test_many_chats_are_read_a_hundred_at_a_time(world: World) -> None:
    """A wave is bounded, and all are found in one sweep."""
    for number in range(250):
        await world.accept(number, chat=1_000 + number)
    fresh = await world.boot()
    assert len(await stranded(world)) == 250
    assert fresh.store.calls["read_chats"] == 3


async def test_what_another_container_accepted_is_found(world: World) -> None:
    """A mailbox that is believed known is read again when the store has more."""
    await world.accept(1)
    await world.ask(ClaimTurn(chat=CHAT, owner="one"))
    old = world.now
    await world.boot()
    await world.accept(2)
    world.shard_place.actor = old.shard
    await stranded(world)
    await world.settle()
    assert {world.state(1), world.state(2)} == {"answered"}


async def test_a_sweep_beside_a_running_accept(world: World) -> None:
    """A chat in use at this moment is not read, so that half of its write is not taken for the whole."""
    await world.boot()
    world.now.store.latency_s = 1.0
    accepting = asyncio.create_task(world.accept(1))
    await asyncio.sleep(0.5)
    await stranded(world)
    await accepting
    world.now.store.latency_s = 0.0
    assert await stranded(world) == (CHAT,)


async def test_a_sweep_without_store_is_an_error_and_not_an_empty_list(world: World) -> None:
    """I5: nothing is known then."""
    world.now.store.fail("open_updates", "before")
    assert isinstance(await world.ask(SweepTurns()), StoreUnavailable)


async def test_a_dead_owners_turn_goes_on_within_30_s(world: World) -> None:
    """I2: from the death to the answer, with sweeps every 5 s."""
    world.now.model.took_s = 5.0
    await world.say(1)
    await asyncio.sleep(4.0)
    world.now.kill()
    died = asyncio.get_running_loop().time()
    await world.boot()
    await world.settle()
    assert world.screen.texts(CHAT) == ["echo: hello"]
    assert asyncio.get_running_loop().time() - died <= 30.0


def test_mailboxes_are_bounded() -> None:
    """I7: beyond the bound one without an owner makes room, else the oldest."""
    boxes = Mailboxes(max_chats=3)
    for chat in range(10):
        boxes.open(chat)
    assert (len(boxes), boxes.get(9) is not None) == (3, True)


async def test_waiting_updates_are_counted(world: World) -> None:
    """The statistics tell how many updates wait here, as a number that goes down again."""
    for number in range(3):
        await world.accept(number, chat=CHAT + number)
    assert (await world.shard.stats()).counters["waiting"] == 3
    await world.settle()
    assert (await world.shard.stats()).counters["waiting"] == 0


# ---------------------------------------------------------------- the sweeper


class Direct(Transport):
    """A method as a transport; `told` keeps what was handed over."""

    def __init__(self, answer: Callable[[bytes], object]) -> None:
        self._answer = answer
        self.told: list[bytes] = []

    async def ask(self, frame: bytes) -> bytes:
        reply = self._answer(frame)
        return await reply if asyncio.iscoroutine(reply) else reply  # type: ignore[return-value]  # bytes in both cases

    async def tell(self, frame: bytes) -> None:
        self.told.append(frame)

    async def warm(self, frame: bytes = b"") -> bytes:
        raise AssertionError("nobody warms it here")

    async def stats(self) -> bytes:
        raise AssertionError("nobody asks it here")


def away(_: bytes) -> bytes:
    """A shard that does not answer."""
    raise Unreachable("away")


def fleet(agent: Transport, *shards: Callable[[bytes], object]) -> Fleet:
    """References to these shards and this agent."""
    refs = [SessionShardRef("SessionCacheActor", Direct(shard)) for shard in shards]
    registry = SkillRegistryRef("SkillRegistryActor", Registry())
    return Fleet(registry, SessionsRef(refs), ChatAgentRef("ChatAgent", agent))


@pytest.mark.parametrize("broken", [away, lambda _: encode(StoreUnavailable()), lambda _: b"\xc1"])
async def test_a_shard_that_does_not_answer_keeps_no_other_from_being_swept(
    broken: Callable[[bytes], bytes],
) -> None:
    """Whatever the first shard says, the chats of the second are handed to the agent."""
    agent = Direct(away)
    swept = await sweep(fleet(agent, broken, lambda _: encode(TurnsStranded(chats=(1, 2)))))
    assert (swept, len(agent.told)) == (2, 2)


async def test_sweeping_goes_on_for_ever() -> None:
    """Every 5 s, whatever failed before."""
    calls: list[float] = []

    def shard(_: bytes) -> bytes:
        calls.append(asyncio.get_running_loop().time())
        raise Unreachable("away")

    sweeping = asyncio.create_task(sweep_forever(fleet(Direct(away), shard), VirtualClock()))
    await asyncio.sleep(2.5 * EVERY_S)
    sweeping.cancel()
    assert [later - calls[0] for later in calls] == [0.0, EVERY_S, 2 * EVERY_S]


async def test_a_held_turn_says_when_to_look_again(world: World) -> None:
    """The rest of the lease, also of one that was read from the store."""
    await world.accept(1)
    await world.ask(ClaimTurn(chat=CHAT, owner="one"))
    await asyncio.sleep(6.0)
    held = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(held, TurnHeld)
    assert held.retry_after_s == pytest.approx(LEASE_S - 6.0)
