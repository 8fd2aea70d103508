"""Committing: session, turn and outbox in one step; conflicts and lost replies."""

import msgspec
import pytest

from contracts.base import Message
from contracts.faults import BadRequest, LeaseLost, StoreUnavailable
from contracts.sessions import (
    BeginSending,
    ClaimTurn,
    CommitTurn,
    DeliveryRecorded,
    ForgetChat,
    LoadSession,
    MarkDelivered,
    OutboxClaimed,
    PatchSession,
    SessionPatch,
    TurnClaimed,
    TurnCommitted,
)
from contracts.turns import Chunk
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import BOT, CHAT, World
from tests.actors.turns.steps import SAID, claimed, loaded


def mark(commit: CommitTurn, index: int, **more: object) -> MarkDelivered:
    """A chunk of the commit was sent."""
    fields = {"chat": CHAT, "bot": BOT, "update": commit.update, "lease": commit.lease, "index": index}
    return MarkDelivered(**(fields | more))  # type: ignore[arg-type]  # fields as the message has them


async def test_a_commit_writes_all_in_one_step(world: World) -> None:
    """Session, turn and outbox carry the same version, and the first chunk is marked `sending` in it."""
    commit = await claimed(world)
    committed = await world.ask(commit)
    assert isinstance(committed, TurnCommitted)
    assert world.database.updates[f"{BOT}:1"].version == world.database.sessions[CHAT].version
    assert [chunk.state for chunk in world.turn(1).chunks] == ["sending", "planned"]
    assert committed.chunks == world.turn(1).chunks
    assert (world.state(1), committed.version) == ("committed", world.database.sessions[CHAT].version)


async def test_each_delivery_marks_the_next_chunk_in_the_same_write(world: World) -> None:
    """The last one ends the turn."""
    commit = await claimed(world)
    await world.ask(commit)
    assert await world.ask(mark(commit, 0, message=77)) == DeliveryRecorded(next=1, waiting=1)
    assert [(chunk.state, chunk.message) for chunk in world.turn(1).chunks] == [("sent", 77), ("sending", 0)]
    assert await world.ask(mark(commit, 1)) == DeliveryRecorded(next=-1, ended=True, waiting=0)
    assert world.state(1) == "answered"


@pytest.mark.parametrize("mishap", ["after", "hang applied"])
async def test_a_commit_whose_reply_was_lost_commits_once(world: World, mishap: Mishap) -> None:
    """C9: asked again it succeeds, the conversation has the turn once, and the chunks are there to send."""
    commit = await claimed(world)
    world.now.store.fail("write_turn", mishap)
    assert isinstance(await world.ask(commit), StoreUnavailable)
    again = await world.ask(commit)
    assert isinstance(again, TurnCommitted)
    assert [chunk.state for chunk in again.chunks] == ["sending", "planned"]
    assert (await loaded(world)).session.messages == SAID


@pytest.mark.parametrize("steps", ["commit", "deliver"])
@pytest.mark.parametrize("mishap", ["after", "hang applied"])
async def test_an_end_whose_reply_was_lost_is_known_when_asked_again(
    world: World, steps: str, mishap: Mishap
) -> None:
    """Whoever ended the turn is told so, and the chat's next turn is free at once."""
    commit = await claimed(world)
    await world.accept(2)
    request: CommitTurn | MarkDelivered = msgspec.structs.replace(commit, chunks=())
    if steps == "deliver":
        await world.ask(commit)
        await world.ask(mark(commit, 0))
        request = mark(commit, 1)
    world.now.store.fail("write_turn", mishap)
    assert isinstance(await world.ask(request), StoreUnavailable)
    again = await world.ask(request)
    expected: Message = (
        DeliveryRecorded(ended=True, waiting=1) if steps == "deliver" else TurnCommitted(waiting=1)
    )
    assert again == expected
    claimed_next = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(claimed_next, TurnClaimed)
    assert claimed_next.update == 2


async def test_the_same_requests_twice_do_nothing_twice(world: World) -> None:
    """D4: every request of a turn may run again, also after the turn's end."""
    commit = await claimed(world)
    for request in (commit, mark(commit, 0), mark(commit, 1)):
        first = await world.ask(request)
        ends = dict(world.database.ends)
        assert type(await world.ask(request)) is type(first)
        assert dict(world.database.ends) == ends
    assert await world.ask(commit) == TurnCommitted()
    assert (await loaded(world)).session.turns == 1
    assert [chunk.state for chunk in world.turn(1).chunks] == ["sent", "sent"]


@pytest.mark.parametrize("mishap", ["before", "after"])
async def test_a_failed_write_is_never_visible(world: World, mishap: Mishap) -> None:
    """I4: what the shard serves after a failed commit is what the store has."""
    commit = await claimed(world)
    world.now.store.fail("write_turn", mishap)
    await world.ask(commit)
    served = await loaded(world)
    assert served.session.messages == (SAID if mishap == "after" else ())
    assert served.version == world.database.session_version(CHAT)


@pytest.mark.parametrize("mishap", ["before", "after"])
@pytest.mark.parametrize(
    "request_", [PatchSession(chat=CHAT, patch=SessionPatch(mode="brief")), ForgetChat(chat=CHAT)]
)
async def test_after_a_failed_session_write_the_store_is_asked(
    world: World, request_: PatchSession | ForgetChat, mishap: Mishap
) -> None:
    """I4, for the writes beside turns: what is served is what the store has, whether it was written or not."""
    await world.ask(PatchSession(chat=CHAT, patch=SessionPatch(mode="detailed")))
    world.now.store.fail("write_session", mishap)
    assert isinstance(await world.ask(request_), StoreUnavailable)
    written = "brief" if isinstance(request_, PatchSession) else "normal"
    assert (await loaded(world)).session.mode == ("detailed" if mishap == "before" else written)


async def test_a_failed_read_is_not_an_absent_session(world: World) -> None:
    """I5: the claim fails, nothing is held as absent, and the next one finds the session."""
    await world.say(1)
    await world.idle()
    await world.boot()
    world.now.shard.sessions.unlearn(CHAT)
    world.now.store.fail("read_sessions", "before")
    assert isinstance(await world.ask(LoadSession(chat=CHAT)), StoreUnavailable)
    assert (await loaded(world)).session.turns == 1


async def test_a_moved_session_is_read_and_the_turn_applied_to_it(world: World) -> None:
    """C6: another writer's change is kept, and so is the turn's."""
    commit = await claimed(world)
    old = world.now
    await world.boot()
    await world.ask(PatchSession(chat=CHAT, patch=SessionPatch(mode="brief")))
    world.shard_place.actor = old.shard
    assert isinstance(await world.ask(commit), TurnCommitted)
    assert (world.session().mode, world.session().messages) == ("brief", SAID)
    assert old.shard.counters["commit_conflicts"] == 1


async def test_a_moved_update_writes_nothing(world: World) -> None:
    """The loser of two commits is told LeaseLost, and the session is the winner's."""
    commit = await claimed(world)
    old = world.now
    await world.boot()
    world.database.leases.clear()
    winner = msgspec.structs.replace(commit, lease="winner", append=())
    assert isinstance(await world.ask(winner), TurnCommitted)
    world.shard_place.actor = old.shard
    assert isinstance(await world.ask(commit), LeaseLost)
    assert CHAT not in world.database.sessions


async def test_a_commit_of_no_turn(world: World) -> None:
    """Nothing is written for an update that does not wait."""
    commit = await claimed(world)
    assert isinstance(await world.ask(msgspec.structs.replace(commit, update=99)), LeaseLost)
    assert world.database.sessions == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"chunks": (Chunk(text="x", state="sent"),)},
        {"chunks": (), "outcome": "unknown"},
        {"chunks": (), "outcome": "committed"},
        {"chunks": (), "outcome": "quarantined"},
    ],
)
async def test_a_malformed_commit_is_refused(world: World, wrong: dict[str, object]) -> None:
    """It is answered as such, and the turn is still there for a right one."""
    commit = await claimed(world)
    assert isinstance(await world.ask(msgspec.structs.replace(commit, **wrong)), BadRequest)
    assert isinstance(await world.ask(commit), TurnCommitted)


@pytest.mark.parametrize("index", [-1, 2, 99])
async def test_a_mark_of_no_chunk_is_refused(world: World, index: int) -> None:
    """An index outside of the reply changes nothing."""
    commit = await claimed(world)
    await world.ask(commit)
    assert isinstance(await world.ask(mark(commit, index)), BadRequest)
    begin = BeginSending(chat=CHAT, bot=BOT, update=1, lease=commit.lease, index=index)
    assert isinstance(await world.ask(begin), BadRequest)
    assert world.state(1) == "committed"


async def test_a_chunk_that_may_have_been_sent_is_not_begun_again(world: World) -> None:
    """After `unknown` there is no way back to `sending`."""
    commit = await claimed(world)
    await world.ask(commit)
    await world.ask(mark(commit, 0, state="unknown"))
    begin = BeginSending(chat=CHAT, bot=BOT, update=1, lease=commit.lease, index=0)
    assert isinstance(await world.ask(begin), BadRequest)


async def test_an_outdated_memory_lets_nobody_send(world: World) -> None:
    """I2: a shard that missed a write of another owner asks the store before it says `send`."""
    commit = await claimed(world)
    await world.ask(commit)
    old = world.now
    await world.boot()
    await world.ask(mark(commit, 0, state="planned"))
    world.shard_place.actor = old.shard
    begin = BeginSending(chat=CHAT, bot=BOT, update=1, lease=commit.lease, index=0)
    assert await world.ask(begin) == DeliveryRecorded(next=0, waiting=1)
    assert world.turn(1).chunks[0].state == "sending"


async def test_an_outdated_memory_tells_nobody_to_send_again(world: World) -> None:
    """I2: who commits once more is told what the store says is being sent, not what this shard remembers."""
    commit = await claimed(world)
    await world.ask(commit)
    old = world.now
    await world.boot()
    await world.ask(mark(commit, 0))
    world.shard_place.actor = old.shard
    again = await world.ask(commit)
    assert isinstance(again, TurnCommitted)
    assert [chunk.state for chunk in again.chunks] == ["sent", "sending"]


@pytest.mark.parametrize("mishap", ["before", "after"])
async def test_a_resumption_that_failed_leaves_nothing_unknown(world: World, mishap: Mishap) -> None:
    """Nobody was told to send under the claim that failed, so its chunk is sent by the next one."""
    commit = await claimed(world)
    await world.ask(commit)
    await world.ask(mark(commit, 0, state="planned"))
    await world.boot()
    world.database.leases.clear()
    world.now.store.fail("write_turn", mishap)
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="two")), StoreUnavailable)
    resumed = await world.ask(ClaimTurn(chat=CHAT, owner="two"))
    assert isinstance(resumed, OutboxClaimed)
    assert [chunk.state for chunk in resumed.chunks] == ["sending", "planned"]
