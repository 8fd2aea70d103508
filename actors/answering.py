"""Makes a turn's reply: a command's, or the model's with the skill that fits."""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from actors import prompting
from actors.agent_loop import NOTICE, converse
from actors.cache import Cache
from actors.cache_values import CacheStats, Versioned
from actors.coherence import CATALOG_LATE_S, SKILL_WAIT_S
from actors.commands import Command, Reply, Situation, read_command, run_command
from actors.flight import FlightError
from actors.insist import insist
from actors.matching import SkillIndex
from actors.ports import Background, Clock, Completion, Model, ModelError, Unreachable
from actors.refs import SkillRegistryRef
from actors.tools import Tools
from actors.warming import Tally, WarmFailed
from contracts.faults import Fault, SkillNotFound
from contracts.sessions import SessionPatch, TurnClaimed
from contracts.skills import Catalog, GetCatalog, GetSkill, ReportRun, Skill
from contracts.turns import ChatMessage

log = structlog.get_logger(__name__)

SKILL_TTL_S = (
    60.0  # of its statistics; its text is held under the catalog's fingerprint, which tells of a change
)
SKILLS_BYTES = 8 * 1024 * 1024  # some hundred skills of the largest size seen in the wild
MODEL_BUDGET_S = 45.0  # below the 60 s that a Modal input may take
ANSWER_CHARACTERS = 120_000  # above what the renderer sends, which says that it cut; below the store's 1 MiB
REMEMBERED_CHARACTERS = 16_000  # of one message: a long answer must not push all others out of the history


class RegistryAway(Exception):
    """The skill registry gave no answer."""


class NoSuchSkill(Exception):
    """The skill registry knows no such skill; it is asked again each time, as its suggestions may change."""

    def __init__(self, answer: SkillNotFound) -> None:
        super().__init__(answer.name)
        self.answer = answer


class Answering:
    """Knows the catalog and asks the model."""

    def __init__(
        self,
        *,
        skills: SkillRegistryRef,
        model: Model,
        clock: Clock,
        background: Background,
        count: Callable[[str], None],
    ) -> None:
        self._registry, self._model, self._clock = skills, model, clock
        self._tools = Tools(skills)
        self._background, self._count = background, count
        self._skills: Cache[str, Skill] = Cache(
            max_bytes=SKILLS_BYTES, ttl_s=SKILL_TTL_S, weigh=_weigh, clock=clock, name="skills"
        )
        self._asked_at = float("-inf")
        self._take_over(Catalog(fingerprint=""))

    @property
    def prefix_bytes(self) -> int:
        """What the prompt's prefix holds, in bytes."""
        return len(self._prefix.encode())

    def cached(self) -> CacheStats:
        """The counters of the skills held here."""
        return self._skills.stats()

    async def close(self) -> None:
        """Cancel the loads under way."""
        await self._skills.close()

    # ------------------------------------------------------------ catalog

    async def warm(self, tally: Tally) -> None:
        """Load the catalog in one call; raises WarmFailed or Unreachable."""
        with tally.phase("catalog"):
            await self._renew()
        tally.requested = tally.loaded = len(self.catalog.skills)
        tally.bytes = self.prefix_bytes

    async def renew(self) -> None:
        """Ask whether the catalog is still the current one; a registry that is away leaves it as it is."""
        try:
            await self._renew()
        except (Unreachable, WarmFailed) as away:
            log.warning("catalog_not_renewed", error=str(away))

    async def _renew(self) -> None:
        """Ask, and count from there once that has ended: a turn does not go by a question under way."""
        asked_at = self._clock.monotonic_s()
        try:
            answer = await self._registry.ask(GetCatalog(known=self.catalog.fingerprint))
        finally:
            newest, self._asked_at = self._asked_at <= asked_at, max(self._asked_at, asked_at)
        match answer:
            case Catalog() as catalog if newest:  # else a later question was answered first
                self._take_over(catalog)
            case Fault() as fault:
                raise WarmFailed(f"catalog: {fault.detail}", retry=fault.retry)

    async def _renew_if_late(self) -> None:
        """Ask first where nobody has asked for long; see CATALOG_LATE_S."""
        if self._clock.monotonic_s() - self._asked_at < CATALOG_LATE_S:
            return
        try:
            async with asyncio.timeout(SKILL_WAIT_S):
                await self.renew()
        except TimeoutError:
            log.warning("catalog_not_renewed", error=f"no answer within {SKILL_WAIT_S:g} s")

    def _take_over(self, catalog: Catalog) -> None:
        self.catalog, self._index, self._prefix = (
            catalog,
            SkillIndex(catalog.skills),
            prompting.prefix(catalog),
        )

    # ------------------------------------------------------------ reply

    async def reply(self, turn: TurnClaimed) -> Reply:
        """Make the reply; a model that fails gives a notice to the user, never an exception."""
        await self._renew_if_late()
        command = read_command(turn.incoming)
        if command is not None and command.name == "skill":
            reply = await self._with_named_skill(turn, command)
        elif command is not None or turn.incoming.callback:
            reply = run_command(command.name if command else "", self._situation(turn, command))
        else:
            reply = await self._with_best_skill(turn)
        return _knowing_chat(turn, reply)

    def _situation(self, turn: TurnClaimed, command: Command | None) -> Situation:
        return Situation(
            session=turn.session,
            incoming=turn.incoming,
            catalog=self.catalog,
            model=self._model.name,
            argument=command.argument if command else "",
        )

    async def _with_best_skill(self, turn: TurnClaimed) -> Reply:
        match self._index.best(turn.incoming.text):
            case None:
                return await self._converse(turn, turn.incoming.text, None)
            case summary:
                found = await self._skill(summary.name)
                return await self._converse(
                    turn, turn.incoming.text, found if isinstance(found, Skill) else None
                )

    async def _with_named_skill(self, turn: TurnClaimed, command: Command) -> Reply:
        name, task = self._split(command.argument)
        if not name:
            return Reply(text="Say which skill and what to do: `/skill NAME TASK`. /skills lists them.")
        found = await self._skill(name)
        match found:
            case Skill() if task:
                return await self._converse(turn, task, found)
            case Skill():
                return Reply(text=_about(found))
            case SkillNotFound(suggestions=names):
                hint = ", ".join(f"`{each}`" for each in names)
                return Reply(
                    text=f"There is no skill `{name[:64]}`." + (f" Did you mean {hint}?" if hint else "")
                )
            case _:
                return Reply(text=NOTICE, reason=str(found))

    def _split(self, argument: str) -> tuple[str, str]:
        """Split `NAME TASK`; a name may have spaces, so the longest known one at the start wins."""
        folded = argument.casefold()
        known = [skill.name for skill in self.catalog.skills if _starts(folded, skill.name.casefold())]
        name = max(known, key=len) if known else argument.split(maxsplit=1)[0] if argument else ""
        return name, argument[len(name) :].strip()

    async def _skill(self, name: str) -> Skill | SkillNotFound | None:
        """The skill, or that there is none; None when the registry does not answer.

        It is held under the catalog that it belongs to. One of another catalog serves this turn only, and has the
        catalog renewed: whichever of the two is behind, it is not by more than the bound.
        """
        key = f"{self.catalog.fingerprint}:{name.casefold()}"

        async def load(_: str) -> Versioned[Skill]:
            match await insist(self._clock, lambda: self._registry.ask(GetSkill(name=name))):
                case Skill() as skill:
                    return Versioned(value=skill)
                case SkillNotFound() as none:
                    raise NoSuchSkill(none)
                case fault:
                    raise RegistryAway(repr(fault))

        try:
            async with asyncio.timeout(SKILL_WAIT_S):
                held = await self._skills.get_or_load(key, load)
        except NoSuchSkill as none:
            return none.answer
        except (RegistryAway, FlightError, TimeoutError) as away:
            listed = any(skill.name == name for skill in self.catalog.skills)  # else it is the user's text
            log.warning(
                "skill_unavailable", skill=name if listed else "", error=str(away) or "no answer in time"
            )
            return None
        if held.value is not None and held.value.catalog not in ("", self.catalog.fingerprint):
            self._skills.remove(key)
            self._background.spawn("renew catalog", self.renew)
        return held.value

    # ------------------------------------------------------------ model

    async def _converse(self, turn: TurnClaimed, task: str, skill: Skill | None) -> Reply:
        started = self._clock.monotonic_s()
        try:
            completion = await self._complete(turn, task, skill)
        except ModelError as error:
            log.warning("model_failed", model=self._model.name, error=str(error))
            self._count("model_failures")
            self._report(turn, skill, started, succeeded=False)
            return Reply(text=error.notice or NOTICE, reason=f"model: {error}"[:200])
        self._report(turn, skill, started, succeeded=True)
        used = SessionPatch(last_skill=skill.name) if skill else SessionPatch()
        return Reply(text=completion.text, append=_remembered(task, completion.text), patch=used)

    async def _complete(self, turn: TurnClaimed, task: str, skill: Skill | None) -> Completion:
        asked = prompting.prompt(self._prefix, self.catalog, turn.session, task, skill)
        try:
            async with asyncio.timeout(MODEL_BUDGET_S):
                completion = await converse(self._model, asked, self._tools, self._count)
        except TimeoutError:
            raise ModelError(f"no answer within {MODEL_BUDGET_S:g} s", notice=NOTICE, retry=True) from None
        self._count("model_answers")
        return msgspec.structs.replace(completion, text=_cut(completion.text))

    def _report(self, turn: TurnClaimed, skill: Skill | None, started: float, *, succeeded: bool) -> None:
        """Count the run beside the turn; a turn that runs again counts once."""
        if skill is None:
            return
        run = ReportRun(
            skill=skill.name,
            run=f"{turn.bot}:{turn.update}",
            succeeded=succeeded,
            duration_ms=round((self._clock.monotonic_s() - started) * 1000, 3),
        )
        self._background.spawn("report run", lambda: insist(self._clock, lambda: self._registry.ask(run)))


def _knowing_chat(turn: TurnClaimed, reply: Reply) -> Reply:
    """Note whose private chat it is, once, and that a chat which writes is not dead."""
    known: dict[str, object] = {}
    if turn.incoming.chat_type == "private" and turn.incoming.user not in (0, turn.session.user):
        known["user"] = turn.incoming.user
    if turn.session.dead:
        known["dead"] = False
    if reply.forget or not known:
        return reply
    return msgspec.structs.replace(reply, patch=msgspec.structs.replace(reply.patch, **known))


def _remembered(task: str, answer: str) -> tuple[ChatMessage, ChatMessage]:
    asked = ChatMessage(role="user", text=task[:REMEMBERED_CHARACTERS])
    return asked, ChatMessage(role="assistant", text=answer[:REMEMBERED_CHARACTERS])


def _cut(text: str) -> str:
    return text if len(text) <= ANSWER_CHARACTERS else text[: ANSWER_CHARACTERS - 1] + "…"


def _about(skill: Skill) -> str:
    lines = [f"**{skill.name}**: {skill.description}"]
    if skill.stats.run_count:
        rate, mean_s = skill.stats.success_rate * 100, skill.stats.mean_duration_ms / 1000
        lines.append(f"{skill.stats.run_count} runs, {rate:.0f} % succeeded, {mean_s:.1f} s on average.")
    lines.append(f"Give it something to do: `/skill {skill.name} TASK`")
    return "\n\n".join(lines)


def _starts(argument: str, name: str) -> bool:
    return argument == name or argument.startswith((f"{name} ", f"{name}\n"))


def _weigh(skill: Skill) -> int:
    texts = (skill.name, skill.description, skill.body, skill.memory, skill.error_history, *skill.resources)
    return sum(map(len, texts))
