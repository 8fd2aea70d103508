"""All three actors at once: warm them, and ask what they tell of themselves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import structlog

from actors.ports import Unreachable
from actors.refs import ActorRef, ChatAgentRef, SessionsRef, SkillRegistryRef
from contracts.codec import UnreadableFrame
from contracts.warming import ActorStats, WarmReport

log = structlog.get_logger(__name__)

T = TypeVar("T")

SKILLS: Final = "SkillRegistryActor"
SESSIONS: Final = "SessionCacheActor"
AGENT: Final = "ChatAgent"
GATEWAY: Final = "TelegramGateway"
"""No actor: the server that takes Telegram's updates in."""
UNREACHED: Final = "unreachable: "  # how the error of an actor begins that could not be asked


class UnknownActor(Exception):
    """Nothing has that name or shard; the text is one line for the user."""


class Member(NamedTuple):
    """One actor, or one shard of it."""

    actor: str
    shard: int | None
    ref: ActorRef

    @property
    def label(self) -> str:
        """`SkillRegistryActor`, `SessionCacheActor[0]`, `ChatAgent`."""
        return self.actor if self.shard is None else f"{self.actor}[{self.shard}]"


class Fleet:
    """The references that a caller holds."""

    def __init__(self, skills: SkillRegistryRef, sessions: SessionsRef, agent: ChatAgentRef) -> None:
        self.skills, self.sessions, self.agent = skills, sessions, agent
        shards = (Member(SESSIONS, number, ref) for number, ref in enumerate(sessions.shards))
        self.members = (Member(SKILLS, None, skills), *shards, Member(AGENT, None, agent))

    def select(self, actor: str = "all", shard: int | None = None) -> tuple[Member, ...]:
        """The members of that name (`all`, `SessionCacheActor`, `session_cache`), or its one shard."""
        wanted = _plain(actor)
        named = tuple(m for m in self.members if wanted in ("all", _plain(m.actor), _plain(m.label)))
        if not named:
            raise UnknownActor(unknown(actor))
        chosen = tuple(member for member in named if shard in (None, member.shard))
        if not chosen:
            raise UnknownActor(f"{actor[:60]} has no shard {shard}")
        return chosen


def is_unreached(error: str) -> bool:
    """Whether a report's error says that its actor could not be asked at all."""
    return error.startswith(UNREACHED)


def is_known(actor: str) -> bool:
    """Whether a fleet of any size may have members of that name."""
    return _plain(actor.partition("[")[0]) in map(_plain, ("all", SKILLS, SESSIONS, AGENT))


def unknown(actor: str) -> str:
    """One line that names the ones there are."""
    return f"no actor named {actor[:60]!r}; there are {SKILLS}, {SESSIONS} and {AGENT}"


async def warm_all(
    members: Sequence[Member], deadline_s: float, *, force: bool = False
) -> tuple[WarmReport, ...]:
    """Ask all of these to warm, in parallel; one that does not answer in time is reported cold, and why."""

    async def warm(member: Member) -> WarmReport:
        return await member.ref.warm(force=force)

    answers = await _gather(members, warm, deadline_s)
    return tuple(
        WarmReport(actor=member.actor, shard=member.shard, errors=(answer,))
        if isinstance(answer, str)
        else answer
        for member, answer in zip(members, answers, strict=True)
    )


async def stats_of(members: Sequence[Member], deadline_s: float) -> Mapping[str, ActorStats | str]:
    """The statistics of each by label, asked in parallel; one line why, of those that can't be reached."""

    async def stats(member: Member) -> ActorStats:
        return await member.ref.stats()

    answers = await _gather(members, stats, deadline_s)
    return {member.label: answer for member, answer in zip(members, answers, strict=True)}


# ---------------------------------------------------------------- helpers


async def _gather(
    members: Sequence[Member], ask: Callable[[Member], Awaitable[T]], deadline_s: float
) -> Sequence[T | str]:
    return await asyncio.gather(*(_within(member, ask, deadline_s) for member in members))


async def _within(member: Member, ask: Callable[[Member], Awaitable[T]], deadline_s: float) -> T | str:
    try:
        async with asyncio.timeout(deadline_s):
            return await ask(member)
    except TimeoutError:
        return _unreached(member, f"no answer within {deadline_s:g} s")
    except (Unreachable, UnreadableFrame) as error:  # of another version, a reply may be unreadable
        return _unreached(member, str(error))


def _unreached(member: Member, reason: str) -> str:
    log.warning("actor_unreachable", actor=member.actor, shard=member.shard, error=reason)
    return f"{UNREACHED}{reason}"[:300]


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace("actor", "")
