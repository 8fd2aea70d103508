"""Carries frames to actors in other Modal containers, and puts the references to all of them together."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol, TypeVar

import modal
import modal.exception
import structlog

from actors.ports import Unreachable
from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef
from app.fleet import AGENT, SESSIONS, SKILLS, Fleet
from app.transport.autoscaling import Autoscaler, autoscaler_of
from contracts.codec import encode
from contracts.faults import TooLarge

log = structlog.get_logger(__name__)

T = TypeVar("T")

ASK_MOST: Final = 2 * 1024 * 1024 - 4096  # bytes; Modal carries 2 MiB inline, pickled with its envelope
TELL_MOST: Final = (
    8 * 1024 - 512
)  # bytes; the same for a spawned input: beyond, a detour through blob storage
ASK_S: Final = 10.0  # above the store's own deadlines, so that their reasons arrive first
TELL_S: Final = 5.0  # to queue an input takes tens of ms; the sweeper repeats what did not get through
WARM_S: Final = 90.0  # a cold container starts and warms in less
CONNECT_S: Final = 10.0  # a few round trips; what is not looked up by then is looked up by the first request


class Handle(Protocol):
    """What Modal gives for an instance of a placed class: methods with `remote`, `spawn`, `hydrate`, `autoscaler`."""

    ask: Any
    warm: Any
    stats: Any


class FrameTooLarge(Unreachable):
    """The message was not sent and never can be: it is over the limit of what carries it."""


class RemoteTransport:
    """The port Transport over one pool of containers.

    A caller whose deadline passes leaves the input running: the message may have been handled. Raises only
    Unreachable. Errors of ours travel as messages; what comes as an exception is Modal's, or a container's
    that could not start.
    """

    def __init__(self, handle: Handle, name: str, deadline_s: float = ASK_S) -> None:
        self._ask, self._warm, self._stats = handle.ask, handle.warm, handle.stats
        self._name, self._deadline_s = name, deadline_s

    async def connect(self) -> None:
        """Look the pool up, so that no request pays for it; raises Unreachable."""
        await self._within(CONNECT_S, self._ask.hydrate.aio())

    async def ask(self, frame: bytes) -> bytes:
        """Give the reply's frame, or TooLarge's for a frame that is over the limit."""
        if len(frame) > ASK_MOST:
            return encode(TooLarge(detail=f"to {self._name}", size=len(frame), limit=ASK_MOST))
        return await self._within(self._deadline_s, self._ask.remote.aio(frame))

    async def tell(self, frame: bytes) -> None:
        """Have the frame queued as an input of its own; raises FrameTooLarge for one over the limit."""
        if len(frame) > TELL_MOST:
            raise FrameTooLarge(f"{len(frame)} bytes to tell {self._name}, the limit is {TELL_MOST}")
        await self._within(TELL_S, self._ask.spawn.aio(frame))

    async def warm(self, frame: bytes = b"") -> bytes:
        """Give the frame of a WarmReport; starts a container where none runs."""
        return await self._within(WARM_S, self._warm.remote.aio(frame))

    async def stats(self) -> bytes:
        """Give the frame of an ActorStats, of one container of the pool."""
        return await self._within(self._deadline_s, self._stats.remote.aio())

    async def _within(self, deadline_s: float, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(deadline_s):
                return await call
        except TimeoutError as late:
            raise Unreachable(f"{self._name}: no answer within {deadline_s:g} s") from late
        except Exception as error:  # the other side's exceptions come back as whatever class they had there
            raise Unreachable(f"{self._name}: {_one_line(error)}") from error


class RemoteFleet(Fleet):
    """The references to actors placed on Modal; each pool is looked up once, by `connect` or the first call."""

    def __init__(self, skills: Any, sessions: Any, agent: Any, shards: int) -> None:
        """The three are Modal classes: found by name, or the app's own inside one of its containers."""
        self._classes = (skills, sessions, agent)
        self._shards: list[Handle] = [sessions(shard=number) for number in range(shards)]
        self._carriers: list[RemoteTransport] = []
        super().__init__(
            SkillRegistryRef(SKILLS, self._carrier(skills(), SKILLS)),
            SessionsRef(
                [
                    SessionShardRef(SESSIONS, self._carrier(handle, f"{SESSIONS}[{number}]"))
                    for number, handle in enumerate(self._shards)
                ]
            ),
            ChatAgentRef(AGENT, self._carrier(agent(), AGENT)),
        )

    async def connect(self) -> None:
        """Look every pool up in parallel; what fails is logged, and looked up again by the first call."""
        await _settle("fleet_connect_failed", [carrier.connect() for carrier in self._carriers])

    async def keep(self, min_containers: int) -> None:
        """Keep at least that many containers of each shard: the class's own setting only counts for shards in use.

        Never fewer than there are: an operator's `firstlight scale apply` outlives a gateway that starts later.
        """
        calls = [_keep(handle, min_containers) for handle in self._shards]
        await _settle("fleet_keep_failed", calls)

    def _carrier(self, handle: Handle, name: str) -> RemoteTransport:
        carrier = RemoteTransport(handle, name)
        self._carriers.append(carrier)
        return carrier


def remote_fleet(app_name: str, shards: int, client: modal.Client | None = None) -> RemoteFleet:
    """The fleet of a deployed app, by names; nothing is asked before `connect` or the first call.

    Without a client it is the one that Modal makes of the environment.
    """
    skills, sessions, agent = (
        modal.Cls.from_name(app_name, name, client=client) for name in (SKILLS, SESSIONS, AGENT)
    )
    return RemoteFleet(skills, sessions, agent, shards)


# ---------------------------------------------------------------- helpers


async def _keep(handle: Handle, min_containers: int) -> None:
    autoscaler = autoscaler_of(handle.stats, handle)
    async with asyncio.timeout(CONNECT_S):
        wanted = max(await _kept(autoscaler), min_containers)
        await autoscaler.update(min_containers=wanted)  # also when it is so: as an override it surely counts


async def _kept(autoscaler: Autoscaler) -> int:
    try:
        return (await autoscaler.settings()).min_containers or 0
    except modal.exception.Error:  # not told, or not to a container: then what was deployed is the least
        return 0


async def _settle(event: str, calls: Sequence[Awaitable[None]]) -> None:
    for error in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(error, Exception):
            log.warning(event, error=_one_line(error))


def _one_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:300]
