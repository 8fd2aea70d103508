"""The transport across Modal, over handles that do what Modal's may do."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpclib
import modal.exception
import pytest

from actors.ports import Unreachable
from app.fleet import AGENT, SESSIONS, SKILLS
from app.transport.remote import (
    ASK_MOST,
    TELL_MOST,
    FrameTooLarge,
    RemoteFleet,
    RemoteTransport,
    remote_fleet,
)
from contracts.codec import encode, read_session_reply, read_warm
from contracts.faults import TooLarge
from contracts.sessions import SweepTurns, TurnsStranded
from contracts.warming import ActorStats, WarmReport

Outcome = bytes | BaseException | None
"""What a call gives, raises, or (None) never does."""


class Async:
    """A call of Modal's client, which from async code is spelled `.aio`."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.aio = call


class Method:
    """A method of a placed class: notes what it is called with, and comes out as it is told to."""

    def __init__(self, outcome: Outcome = b"") -> None:
        self.outcome = outcome
        self.called: list[tuple[Any, ...]] = []
        self.spawned: list[bytes] = []
        self.looked_up = 0
        self.running: list[asyncio.Future[bytes]] = []
        self.autoscaler = Autoscaler()
        self.remote, self.spawn, self.hydrate = Async(self._remote), Async(self._spawn), Async(self._hydrate)

    async def _remote(self, *frames: bytes) -> bytes:
        self.called.append(frames)
        return await self._come_out()

    async def _spawn(self, frame: bytes) -> object:
        self.spawned.append(frame)
        await self._come_out()
        return object()

    async def _hydrate(self) -> None:
        self.looked_up += 1
        await self._come_out()

    async def _come_out(self) -> bytes:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        if self.outcome is None:
            self.running.append(asyncio.get_running_loop().create_future())
            return await self.running[-1]
        return self.outcome


class Autoscaler:
    """How many containers a pool keeps, or why it does not tell."""

    def __init__(self) -> None:
        self.min_containers: int | Exception | None = 0
        self.updates: list[int] = []
        self.settings, self.update = Async(self._settings), Async(self._update)

    async def _settings(self) -> "Autoscaler":
        if isinstance(self.min_containers, Exception):
            raise self.min_containers
        return self

    async def _update(self, *, min_containers: int) -> None:
        self.updates.append(min_containers)


class Placed:
    """A handle on one pool."""

    def __init__(self, outcome: Outcome = b"", shard: int | None = None) -> None:
        self.ask, self.warm, self.stats = Method(outcome), Method(outcome), Method(outcome)
        self.shard = shard


class PlacedClass:
    """A Modal class: calling it gives a handle, another one each time."""

    def __init__(self, outcome: Outcome = b"") -> None:
        self.outcome = outcome
        self.handles: list[Placed] = []

    def __call__(self, shard: int | None = None) -> Placed:
        self.handles.append(Placed(self.outcome, shard))
        return self.handles[-1]


def fleet_of(
    shards: int, outcome: Outcome = b""
) -> tuple[RemoteFleet, PlacedClass, PlacedClass, PlacedClass]:
    """A fleet, and the classes of skills, sessions and agent that it was made of."""
    skills, sessions, agent = PlacedClass(outcome), PlacedClass(outcome), PlacedClass(outcome)
    return RemoteFleet(skills, sessions, agent, shards), skills, sessions, agent


async def test_an_answer_comes_back_as_it_was_sent() -> None:
    """Frames go out and come back untouched, to the method of that name."""
    placed = Placed()
    placed.ask.outcome, placed.warm.outcome, placed.stats.outcome = b"reply", b"report", b"statistics"
    transport = RemoteTransport(placed, "Actor")
    assert await transport.ask(b"request") == b"reply"
    assert await transport.warm(b"wish") == b"report"
    assert await transport.stats() == b"statistics"
    await transport.tell(b"message")
    calls = (placed.ask.called, placed.ask.spawned, placed.warm.called, placed.stats.called)
    assert calls == ([(b"request",)], [b"message"], [(b"wish",)], [()])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (modal.exception.NotFoundError("no app\nof that name"), "NotFoundError: no app"),
        (modal.exception.FunctionTimeoutError("too long"), "FunctionTimeoutError: too long"),
        (modal.exception.ConnectionError("no way out"), "ConnectionError: no way out"),
        (modal.exception.InternalFailure("preempted"), "InternalFailure: preempted"),
        (modal.exception.DeserializationError("unknown class"), "DeserializationError: unknown class"),
        (modal.exception.ClientClosed("closed"), "ClientClosed: closed"),
        (grpclib.GRPCError(grpclib.Status.UNAVAILABLE, "away"), "GRPCError: "),
        (ConnectionResetError("reset"), "ConnectionResetError: reset"),
        (RuntimeError("FIRSTLIGHT_STORE is not set"), "RuntimeError: FIRSTLIGHT_STORE is not set"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_whatever_modal_raises_is_unreachable(error: Exception, reason: str) -> None:
    """Modal's errors, the network's, and those of a container that could not start: one line says which."""
    transport = RemoteTransport(Placed(error), "Actor")
    for call in (
        transport.ask(b""),
        transport.tell(b""),
        transport.warm(),
        transport.stats(),
        transport.connect(),
    ):
        with pytest.raises(Unreachable) as raised:
            await call
        assert str(raised.value).startswith(f"Actor: {reason}")
        assert "\n" not in str(raised.value)


async def test_a_silent_actor_is_unreachable_after_the_deadline() -> None:
    """The caller's wait is bounded."""
    transport = RemoteTransport(Placed(None), "Actor", deadline_s=0.01)
    with pytest.raises(Unreachable, match=r"^Actor: no answer within 0\.01 s$"):
        await transport.ask(b"request")


async def test_a_cancelled_caller_is_cancelled() -> None:
    """A cancellation is no failure of the other side."""
    placed = Placed(None)
    asking = asyncio.create_task(RemoteTransport(placed, "Actor").ask(b"request"))
    await asyncio.sleep(0.01)
    assert len(placed.ask.running) == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_request_over_the_limit_is_answered_too_large_unsent() -> None:
    """The answer is typed, with both sizes; a frame at the limit goes."""
    placed = Placed()
    placed.ask.outcome = encode(TurnsStranded())
    transport = RemoteTransport(placed, "Actor")
    assert read_session_reply(await transport.ask(bytes(ASK_MOST))) == TurnsStranded()
    refused = read_session_reply(await transport.ask(bytes(ASK_MOST + 1)))
    assert refused == TooLarge(detail="to Actor", size=ASK_MOST + 1, limit=ASK_MOST)
    assert len(placed.ask.called) == 1


async def test_a_message_over_the_limit_is_refused_unsent() -> None:
    """Nobody waits for a reply, so that the teller is told; a frame at the limit goes."""
    placed = Placed()
    transport = RemoteTransport(placed, "Actor")
    await transport.tell(bytes(TELL_MOST))
    with pytest.raises(FrameTooLarge, match=f"{TELL_MOST + 1} bytes to tell Actor, the limit is {TELL_MOST}"):
        await transport.tell(bytes(TELL_MOST + 1))
    assert [len(frame) for frame in placed.ask.spawned] == [TELL_MOST]


def test_the_limits_leave_room_for_modals_envelope() -> None:
    """A frame at the limit, serialized by the client, still travels inline."""
    from modal._serialization import serialize  # noqa: PLC0415 - the client's own, private to it
    from modal._utils.blob_utils import MAX_ASYNC_OBJECT_SIZE_BYTES, MAX_OBJECT_SIZE_BYTES  # noqa: PLC0415

    assert len(serialize(((bytes(ASK_MOST),), {}))) <= MAX_OBJECT_SIZE_BYTES
    assert len(serialize(((bytes(TELL_MOST),), {}))) <= MAX_ASYNC_OBJECT_SIZE_BYTES


async def test_a_fleet_asks_each_shard_by_its_own_handle() -> None:
    """One handle a pool, made once; requests go to the shard of their chat."""
    fleet, skills, sessions, agent = fleet_of(3, encode(TurnsStranded(chats=(7,))))
    assert [handle.shard for handle in sessions.handles] == [0, 1, 2]
    assert (len(skills.handles), len(agent.handles)) == (1, 1)
    assert await fleet.sessions.shards[2].ask(SweepTurns()) == TurnsStranded(chats=(7,))
    assert [len(handle.ask.called) for handle in sessions.handles] == [0, 0, 1]


async def test_connecting_looks_up_every_pool_once_and_survives_failures() -> None:
    """The first requests find all pools looked up; what could not be is left to them."""
    fleet, skills, sessions, agent = fleet_of(2)
    sessions.handles[0].ask.outcome = modal.exception.NotFoundError("not deployed")
    await fleet.connect()
    handles = (*skills.handles, *sessions.handles, *agent.handles)
    assert [handle.ask.looked_up for handle in handles] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("has", "asked"),
    [
        (None, 2),
        (1, 2),
        (2, 2),
        (5, 5),
        (modal.exception.UnimplementedError("not served here"), 2),
        (modal.exception.PermissionDeniedError("not to containers"), 2),
    ],
)
async def test_every_shard_is_kept(has: int | Exception | None, asked: int) -> None:
    """A shard's pool is its own: each gets the least number of containers, and none loses what it was given."""
    fleet, _, sessions, _ = fleet_of(2)
    for handle in sessions.handles:
        handle.stats.autoscaler.min_containers = has
    await fleet.keep(2)
    assert [handle.stats.autoscaler.updates for handle in sessions.handles] == [[asked], [asked]]


async def test_a_forced_warm_and_the_statistics_cross_typed() -> None:
    """The references read what the other side's actors wrote."""
    fleet, skills, _, _ = fleet_of(1)
    report, statistics = WarmReport(actor=SKILLS, status="warm"), ActorStats(actor=SKILLS)
    skills.handles[0].warm.outcome, skills.handles[0].stats.outcome = encode(report), encode(statistics)
    assert await fleet.skills.warm(force=True) == report
    assert await fleet.skills.stats() == statistics
    ((wish,),) = skills.handles[0].warm.called
    assert read_warm(wish).force


def test_a_fleet_by_name_asks_nothing_before_it_is_used() -> None:
    """It can be made without an account and a network; its members are all actors and shards."""
    labels = [member.label for member in remote_fleet("some-app", 2).members]
    assert labels == [SKILLS, f"{SESSIONS}[0]", f"{SESSIONS}[1]", AGENT]
