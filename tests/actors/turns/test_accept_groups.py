"""Accepting a group: every update of it fares as if it had come alone, and one that is spoilt spoils no other."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from actors.gates import GATE_WAIT_S
from actors.stores import StoreDenied, StoreDown, StoreError
from contracts.base import Message
from contracts.faults import MailboxFull, StoreRefused, StoreUnavailable
from contracts.sessions import (
    AcceptUpdate,
    AcceptUpdates,
    ClaimTurn,
    TurnClaimed,
    UpdateAccepted,
    UpdateDuplicate,
    UpdatesAccepted,
)
from contracts.turns import Incoming
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import BOT, CHAT, World, said


def update(number: int, chat: int = CHAT) -> AcceptUpdate:
    """An update whose text is its number."""
    return AcceptUpdate(bot=BOT, update=number, incoming=said(str(number), chat))


async def accept(world: World, *updates: AcceptUpdate) -> Sequence[Message]:
    """Bring a group that the shard answers update by update."""
    reply = await world.ask(AcceptUpdates(updates=updates))
    assert isinstance(reply, UpdatesAccepted)
    return reply.results


async def texts(world: World, chat: int = CHAT) -> list[str]:
    """What the chat was answered, once all turns are through."""
    await world.settle()
    return world.screen.texts(chat)


async def test_a_group_costs_one_store_call(world: World) -> None:
    """Whatever the chats, and whether their mailboxes are known here or not."""
    await world.accept(1)
    before = world.now.store.calls.copy()
    results = await accept(world, update(2), update(3, CHAT + 1), update(4), update(5, CHAT + 2))
    assert [2, 1, 3, 1] == [result.waiting for result in results if isinstance(result, UpdateAccepted)]
    assert dict(world.now.store.calls - before) == {"append_all": 1}


async def test_the_order_of_a_chat_is_that_of_the_group(world: World) -> None:
    """I3: ids say nothing."""
    await accept(world, update(9), update(4), update(7, CHAT + 1), update(5))
    assert await texts(world) == ["echo: 9", "echo: 4", "echo: 5"]


async def test_no_updates_are_no_call(world: World) -> None:
    """An empty group, or one whose updates all wait here, asks nothing of the store."""
    await world.accept(1)
    before = world.now.store.calls.copy()
    assert (await accept(world), await accept(world, update(1))) == ((), (UpdateDuplicate(),))
    assert world.now.store.calls == before


async def test_equal_updates_in_a_group(world: World) -> None:
    """The first is accepted, the others are duplicates."""
    results = await accept(world, update(1), update(1), update(2), update(1))
    assert results == (
        UpdateAccepted(waiting=1),
        UpdateDuplicate(),
        UpdateAccepted(waiting=2),
        UpdateDuplicate(),
    )
    assert await texts(world) == ["echo: 1", "echo: 2"]


async def test_a_mailbox_that_is_full_in_the_middle_of_a_group() -> None:
    """I7: what is over the bound is refused, the same again is no more than a duplicate, other chats go on."""
    world = World(mailbox_limit=3)
    await world.boot()
    await world.accept(1)
    group = (update(2), update(3), update(3), update(4), update(5, CHAT + 1), update(2))
    two, three, again, four, five, twice = await accept(world, *group)
    assert (two, three, five) == tuple(UpdateAccepted(waiting=n) for n in (2, 3, 1))
    assert (again, twice) == (UpdateDuplicate(), UpdateDuplicate())
    assert isinstance(four, MailboxFull)
    assert (four.retry_after_s, world.counted()["mailbox_full"]) == (5.0, 1)
    assert f"{BOT}:4" not in world.database.updates
    await world.bury()


async def test_a_group_is_bounded_in_a_mailbox_that_is_not_known_here() -> None:
    """I7: one group brings no more into a mailbox than it holds."""
    world = World(mailbox_limit=3)
    await world.boot()
    results = await accept(world, *map(update, range(5)))
    assert [UpdateAccepted] * 3 + [MailboxFull] * 2 == [type(result) for result in results]
    await world.bury()


async def test_a_new_owner_overfills_a_mailbox_by_one_update_at_most() -> None:
    """I7: who does not know how many wait learns it from the first of a group, and refuses the others."""
    world = World(mailbox_limit=3)
    await world.boot()
    await accept(world, *map(update, range(3)))
    await world.boot()
    results = await accept(world, *map(update, range(3, 6)))
    assert [UpdateAccepted, MailboxFull, MailboxFull] == [type(result) for result in results]
    await world.bury()


@pytest.mark.parametrize(
    ("error", "fault"), [(StoreDown("slow"), StoreUnavailable), (StoreDenied("no"), StoreRefused)]
)
async def test_an_update_that_the_store_does_not_take_spoils_no_other(
    world: World, error: StoreError, fault: type[Message]
) -> None:
    """Its neighbours of the same chat and of others are durable; the next look at its mailbox reads the store."""
    world.now.store.unstorable[f"{BOT}:2"] = error
    results = await accept(world, update(1), update(2), update(3), update(4, CHAT + 1))
    assert [UpdateAccepted, fault, UpdateAccepted, UpdateAccepted] == [type(result) for result in results]
    assert world.now.shard.statistics().degraded.startswith(type(error).__name__)
    before = world.now.store.calls["read_chat"]
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="one")), TurnClaimed)
    assert world.now.store.calls["read_chat"] - before == 1


@pytest.mark.parametrize("mishap", ["before", "after"])
async def test_a_store_that_fails_fails_all_of_them(world: World, mishap: Mishap) -> None:
    """C9: it is no acceptance of any; brought again they are accepted once, and answered."""
    group = AcceptUpdates(updates=(update(1), update(2, CHAT + 1), update(3, CHAT + 2)))
    world.now.store.fail("append_all", mishap)
    assert isinstance(await world.ask(group), StoreUnavailable)
    results = await accept(world, *group.updates)
    assert {type(result) for result in results} == {UpdateAccepted if mishap == "before" else UpdateDuplicate}
    await world.settle()
    assert [["echo: 1"], ["echo: 2"], ["echo: 3"]] == [world.screen.texts(CHAT + n) for n in range(3)]


async def test_a_group_whose_reply_was_lost_makes_the_memory_suspect(world: World) -> None:
    """What may have been appended is looked for before the next turn is given."""
    await world.accept(1)
    world.now.store.fail("append_all", "after")
    await world.ask(AcceptUpdates(updates=(update(2), update(3))))
    before = world.now.store.calls["read_chat"]
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="one")), TurnClaimed)
    assert world.now.store.calls["read_chat"] - before == 1


async def test_what_waits_for_nothing_needs_no_gate(world: World) -> None:
    """An update that is not to be answered is recorded while its chat is in use."""
    ignored = msgspec.structs.replace(
        update(2), incoming=Incoming(kind="poll", chat=CHAT), verdict="ignored", reason="because"
    )
    async with world.now.shard._mailboxes.gates.passage(CHAT):
        assert await accept(world, ignored) == (UpdateAccepted(),)
    assert world.state(2) == "ignored"


async def test_a_chat_in_use_delays_the_writing_of_no_other(world: World) -> None:
    """What can be appended is; the rest is when its turn has come, between who came before and who comes after."""
    world.now.store.latency_s = 0.1
    first = asyncio.create_task(world.accept(1))
    await asyncio.sleep(0.05)
    world.now.store.latency_s = 0.0
    group = asyncio.create_task(accept(world, update(2), update(3, CHAT + 1), update(4)))
    await asyncio.sleep(0.01)
    last = asyncio.create_task(world.accept(5))
    await asyncio.sleep(0.01)
    assert list(world.database.updates) == [f"{BOT}:3"]
    assert await group == tuple(UpdateAccepted(waiting=n) for n in (2, 1, 3))
    assert (await first, await last) == (UpdateAccepted(waiting=1), UpdateAccepted(waiting=4))
    assert await texts(world) == ["echo: hello", "echo: 2", "echo: 4", "echo: hello"]


async def test_a_chat_that_is_stuck_holds_its_group_only_briefly(world: World) -> None:
    """Its own updates are to be brought again; the others are answered before anybody gives up."""
    world.now.store.fail("append", "hang")
    stuck = asyncio.create_task(world.accept(1))
    await asyncio.sleep(0.1)
    started = asyncio.get_running_loop().time()
    two, three = await accept(world, update(2), update(3, CHAT + 1))
    assert asyncio.get_running_loop().time() - started <= 1.0
    assert (type(two), three) == (StoreUnavailable, UpdateAccepted(waiting=1))
    await stuck
    assert await accept(world, update(2)) == (UpdateAccepted(waiting=1),)


async def test_groups_that_want_each_others_chats_do_not_wait_for_ever(world: World) -> None:
    """Of two groups one is behind the other before every gate."""
    world.now.store.latency_s = 0.1
    chats = range(CHAT, CHAT + 4)
    holders = [asyncio.create_task(world.accept(chat, chat=chat)) for chat in chats]
    await asyncio.sleep(0.05)
    groups = [[update(10 * chat + n, chat) for chat in order] for n, order in enumerate((chats, chats[::-1]))]
    started = asyncio.get_running_loop().time()
    results = await asyncio.gather(*holders, *(accept(world, *group) for group in groups))
    assert asyncio.get_running_loop().time() - started <= 0.4
    assert [(UpdateAccepted(waiting=2),) * 4, (UpdateAccepted(waiting=3),) * 4] == results[4:]


@pytest.mark.parametrize("moment", ["append", "queue"])
async def test_a_group_that_is_cancelled_leaves_no_gate_shut(world: World, moment: str) -> None:
    """I7: whoever comes next gets in, wherever the cancelled one was."""
    world.now.store.latency_s = 0.2
    holder = asyncio.create_task(world.accept(1)) if moment == "queue" else None
    await asyncio.sleep(0.01)
    shard = world.now.shard
    group = asyncio.create_task(shard._inbox.accept_all([update(2), update(3, CHAT + 1)]))
    await asyncio.sleep(0.05)
    group.cancel()
    await asyncio.gather(group, return_exceptions=True)
    if holder is not None:
        await holder
    assert len(shard._mailboxes.gates) == 0
    started = asyncio.get_running_loop().time()
    assert isinstance(await world.accept(4), UpdateAccepted)
    assert asyncio.get_running_loop().time() - started < GATE_WAIT_S
