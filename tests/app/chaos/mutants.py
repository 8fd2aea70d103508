"""Worlds with one thing broken in each: what the checks of a simulation have to notice."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from actors.chat_agent import ChatAgent
from actors.ports import MaybeSent, NotSent, SkillFiles, SkillScan, Telegram
from actors.refs import SkillRegistryRef
from actors.session_cache import SessionCacheOptions
from actors.stores import Appended, ChatState, LeaseRecord, SessionRecord, TurnWrite, UpdateRecord
from app.chaos.container import Container
from app.chaos.crew import AnyActor, Crew
from app.chaos.memory_database import StoredUpdate
from app.chaos.mind import FewSkills
from app.chaos.simulation import Simulation
from app.chaos.telegram_port import ChaosTelegram
from app.chaos.watched_store import WatchedDatabase, Witness
from app.fleet import Fleet
from app.intake import Taken, UpdateIntake
from app.metrics import Metrics
from contracts.skills import GetSkill, SkillReply, SkillRequest
from contracts.turns import Button, Entity


class Mutant(Simulation):
    """A simulation; a subclass names the database or the crew that is broken."""

    database_class: type[WatchedDatabase] = WatchedDatabase
    crew_class: type[Crew] = Crew

    def make_database(self) -> WatchedDatabase:
        """The database that the mutant names."""
        return self.database_class(self.now, Witness(self.ledger, self.trace))

    def make_crew(self) -> Crew:
        """The crew that the mutant names."""
        return self.crew_class(self.world)


# ---------------------------------------------------------------- databases


class CreatesAgain(WatchedDatabase):
    """Forgets the precondition of `create`."""

    def append(self, record: UpdateRecord) -> Appended:
        self.tables.updates.pop((record.bot, record.update), None)
        return super().append(record)


class FencesNothing(WatchedDatabase):
    """Writes a turn whatever version its update has."""

    def _check(self, stored: StoredUpdate, write: TurnWrite) -> None:
        if write.session is not None:
            self._check_session(write.session)


class OverwritesSessions(WatchedDatabase):
    """Writes a session whatever version it has."""

    def _check_session(self, session: SessionRecord) -> None:
        pass


class ReadsBackwards(WatchedDatabase):
    """Gives a mailbox in the wrong order."""

    def read_chat(self, chat: int) -> ChatState:
        state = super().read_chat(chat)
        return msgspec.structs.replace(state, open_updates=state.open_updates[::-1])


class ForgetsWaits(WatchedDatabase):
    """Takes a lease and drops the wait that comes with it."""

    def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        super().write_lease(chat, lease)
        kept = self.tables.leases.get(chat)
        if kept is not None:
            self.tables.leases[chat] = kept._replace(record=msgspec.structs.replace(kept.record, wait_s=0.0))


# ---------------------------------------------------------------- an agent's Telegram


class SendsAgain(ChaosTelegram):
    """Sends once more what may have been sent."""

    async def send_message(
        self,
        chat: int,
        text: str,
        entities: Sequence[Entity] = (),
        buttons: Sequence[Button] = (),
        *,
        thread: int = 0,
    ) -> int:
        try:
            return await super().send_message(chat, text, entities, buttons, thread=thread)
        except MaybeSent:
            return await super().send_message(chat, text, entities, buttons, thread=thread)


class ClaimsToHaveSent(ChaosTelegram):
    """Calls sent what surely was not."""

    async def send_message(
        self,
        chat: int,
        text: str,
        entities: Sequence[Entity] = (),
        buttons: Sequence[Button] = (),
        *,
        thread: int = 0,
    ) -> int:
        try:
            return await super().send_message(chat, text, entities, buttons, thread=thread)
        except NotSent:
            return 1


class DoubtsForNothing(ChaosTelegram):
    """Says now and then that a message may not have been sent, when it was."""

    async def send_message(
        self,
        chat: int,
        text: str,
        entities: Sequence[Entity] = (),
        buttons: Sequence[Button] = (),
        *,
        thread: int = 0,
    ) -> int:
        message = await super().send_message(chat, text, entities, buttons, thread=thread)
        if message % 10 == 0:
            raise MaybeSent("for nothing")
        return message


class WithTelegram(Crew):
    """Agents over another Telegram."""

    telegram_class: type[ChaosTelegram] = ChaosTelegram

    def telegram(self, container: Container) -> Telegram:
        return self.telegram_class(self.world.wire, container)


class HearsNoWait(ChaosTelegram):
    """Does not pass on how long Telegram wants to be left alone."""

    async def send_message(
        self,
        chat: int,
        text: str,
        entities: Sequence[Entity] = (),
        buttons: Sequence[Button] = (),
        *,
        thread: int = 0,
    ) -> int:
        try:
            return await super().send_message(chat, text, entities, buttons, thread=thread)
        except NotSent as error:
            raise NotSent(str(error)) from error


class NeverGivesUp(Crew):
    """Shards without a bound on how long a reply is tried."""

    def options(self) -> SessionCacheOptions:
        return replace(super().options(), unsent_most_s=float("inf"))


# ---------------------------------------------------------------- skills


class RemembersTheFirst(FewSkills):
    """Gives the edition that it saw first, again and again."""

    async def scan(self) -> SkillScan:
        self._seen = getattr(self, "_seen", None) or await super().scan()
        return self._seen


class HalfBlind(Crew):
    """Every other registry never sees a change."""

    _made = 0

    def files(self) -> SkillFiles:
        self._made += 1
        return RemembersTheFirst(self.world.editions) if self._made % 2 else super().files()


class KeepsTexts(SkillRegistryRef):
    """Never asks twice for a skill."""

    def __init__(self, sound: SkillRegistryRef) -> None:
        super().__init__(sound.name, sound._transport)
        self._kept: dict[str, SkillReply] = {}

    async def ask(self, request: SkillRequest) -> SkillReply:
        if not isinstance(request, GetSkill):
            return await super().ask(request)
        if request.name not in self._kept:
            self._kept[request.name] = await super().ask(request)
        return self._kept[request.name]


class Hoarding(Crew):
    """Agents that keep the texts of skills."""

    def agent(self, container: Container, fleet: Fleet) -> AnyActor:
        return super().agent(container, Fleet(KeepsTexts(fleet.skills), fleet.sessions, fleet.agent))


# ---------------------------------------------------------------- others


class SaysYes(UpdateIntake):
    """Answers 200 whatever became of the update."""

    async def take(self, body: bytes) -> Taken:
        await super().take(body)
        return Taken(durable=True)


class Agreeable(Crew):
    """Gateways that say yes."""

    def intake(self, container: Container, fleet: Fleet, metrics: Metrics) -> UpdateIntake:
        return SaysYes(
            bot=self.world.bot.id,
            fleet=fleet,
            identity=lambda: self.world.bot,
            background=container.background,
            metrics=metrics,
            clock=container.clock,
        )


class Unswept(Crew):
    """No sweeper."""

    async def sweep(self, container: Container, fleet: Fleet) -> None:
        await asyncio.sleep(0)


class Leaky(Crew):
    """Agents that start a task for each request and never end it."""

    def agent(self, container: Container, fleet: Fleet) -> AnyActor:
        agent = super().agent(container, fleet)
        assert isinstance(agent, ChatAgent)
        return _leaking(agent, container)


def _leaking(agent: ChatAgent, container: Container) -> AnyActor:
    sound: Callable[[bytes], Coroutine[Any, Any, bytes]] = agent.ask

    async def ask(frame: bytes) -> bytes:
        container.background.spawn("leak", lambda: container.clock.sleep(1e9))
        return await sound(frame)

    agent.ask = ask  # type: ignore[method-assign]
    return agent


def with_database(kind: type[WatchedDatabase]) -> type[Mutant]:
    """A simulation over this database."""
    return type(kind.__name__, (Mutant,), {"database_class": kind})


def with_crew(kind: type[Crew], **parts: object) -> type[Mutant]:
    """A simulation with this crew, whose class attributes are changed to `parts`."""
    return type(kind.__name__, (Mutant,), {"crew_class": type(kind.__name__, (kind,), parts)})
