"""Worlds with one thing broken in each: what the checks of a simulation have to notice."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from actors.chat_agent import ChatAgent
from actors.meter import Meter
from actors.ports import MaybeSent, NotSent, SkillFiles, SkillScan, Telegram
from actors.refs import SkillRegistryRef
from actors.session_cache import SessionCacheActor
from actors.stores import (
    Appended,
    ChatState,
    SessionBatch,
    SessionRecord,
    SessionStore,
    StoreDown,
    TurnWrite,
    UpdateRecord,
)
from actors.warm_ports import SessionChanges, StoredImage, WarmStore
from app.chaos.container import Container
from app.chaos.crew import AnyActor, Crew
from app.chaos.memory_database import StoredUpdate
from app.chaos.memory_store import MemorySessionStore, MemoryWarmStore
from app.chaos.mind import FewSkills
from app.chaos.simulation import Simulation
from app.chaos.store_port import ShakySessions, ShakyWarm
from app.chaos.telegram_port import ChaosTelegram
from app.chaos.watched_store import WatchedDatabase
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
        sound = super().make_database()
        return self.database_class(sound._now, self.ledger, self.trace)

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


# ---------------------------------------------------------------- a shard's store


class TakesFailuresForAbsence(ShakySessions):
    """A read that fails says that there is nothing."""

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        try:
            return await super().read_sessions(chats)
        except StoreDown:
            return SessionBatch()

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        return SessionBatch()  # so that the reads above are needed


class AcknowledgesBeforeWriting(ShakySessions):
    """Says that an update is durable and writes it afterwards, if that works."""

    def __init__(self, container: Container, *parts: Any) -> None:
        super().__init__(parts[0], container, parts[1])
        self._home = container

    async def append(self, record: UpdateRecord) -> Appended:
        later = super().append
        self._home.background.spawn("append", lambda: later(record))
        return Appended(created=True, version=1, waiting=1)


class MakesUpSessions(ShakySessions):
    """Gives sessions a version that they never had."""

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        batch = await super().recent_sessions(shard, limit)
        made_up = (msgspec.structs.replace(each, version=each.version + 1_000_000) for each in batch.sessions)
        return SessionBatch(sessions=tuple(made_up))


class Trips(ShakySessions):
    """Has a defect of its own."""

    async def write_turn(self, write: TurnWrite) -> Any:
        if write.update.update % 50 == 0:
            raise KeyError("a defect")
        return await super().write_turn(write)


class NoImages(ShakyWarm):
    """Keeps no image and knows of no change, so that everything is read on demand."""

    async def read_image(self, name: str) -> StoredImage | None:
        return None

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        return SessionChanges()

    async def write_image(self, name: str, image: StoredImage) -> int:
        return image.version


class MovesItsMark(ShakyWarm):
    """Tells a mark up to which it has not read: it leaves out what has changed since the last one."""

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        changes = await super().changed_sessions(shard, since, limit)
        return msgspec.structs.replace(changes, sessions=(), reaches=since) if since else changes


class ForgetsBehind(ShakyWarm):
    """Nothing is wrong with it: after each image another owner forgets one of its chats."""

    async def write_image(self, name: str, image: StoredImage) -> int:
        version = await super().write_image(name, image)
        database, shard = self._line.database, int(name.rpartition(":")[2])
        stored = [each.record for each in database.tables.sessions.values()]
        living = [each for each in stored if each.body and each.shard == shard]
        for each in living[:1]:
            database.write_session(msgspec.structs.replace(each, body=b""), f"forget {version}")
        return version


class IgnoresTombstones(ForgetsBehind):
    """Does not tell which sessions were forgotten."""

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        changes = await super().changed_sessions(shard, since, limit)
        return msgspec.structs.replace(
            changes, sessions=tuple(each for each in changes.sessions if each.body)
        )


class WithStore(Crew):
    """Shards over another store."""

    store_class: type[ShakySessions] = ShakySessions
    warm_class: type[ShakyWarm] = ShakyWarm

    def sessions(self, container: Container, meter: Meter) -> SessionStore:
        return self.store_class(self.world.line, container, MemorySessionStore(self.world.database, meter))

    def warm(self, container: Container, meter: Meter) -> WarmStore:
        return self.warm_class(self.world.line, container, MemoryWarmStore(self.world.database, meter))


class Hasty(Crew):
    """Shards that acknowledge before they write."""

    def sessions(self, container: Container, meter: Meter) -> SessionStore:
        return AcknowledgesBeforeWriting(
            container, self.world.line, MemorySessionStore(self.world.database, meter)
        )


class Boundless(Crew):
    """Shards whose mailboxes have no bound."""

    def shard(self, container: Container, shard: int) -> AnyActor:
        meter = Meter()
        return SessionCacheActor(
            shard,
            store=self.sessions(container, meter),
            images=self.warm(container, meter),
            meter=meter,
            clock=container.clock,
            chance=container.chance,
            background=container.background,
            options=replace(self.options(), mailbox_limit=1_000_000),
        )


# ---------------------------------------------------------------- an agent's Telegram


class SendsAgain(ChaosTelegram):
    """Sends once more what may have been sent."""

    async def send_message(
        self, chat: int, text: str, entities: Sequence[Entity] = (), buttons: Sequence[Button] = ()
    ) -> int:
        try:
            return await super().send_message(chat, text, entities, buttons)
        except MaybeSent:
            return await super().send_message(chat, text, entities, buttons)


class ClaimsToHaveSent(ChaosTelegram):
    """Calls sent what surely was not."""

    async def send_message(
        self, chat: int, text: str, entities: Sequence[Entity] = (), buttons: Sequence[Button] = ()
    ) -> int:
        try:
            return await super().send_message(chat, text, entities, buttons)
        except NotSent:
            return 1


class DoubtsForNothing(ChaosTelegram):
    """Says now and then that a message may not have been sent, when it was."""

    async def send_message(
        self, chat: int, text: str, entities: Sequence[Entity] = (), buttons: Sequence[Button] = ()
    ) -> int:
        message = await super().send_message(chat, text, entities, buttons)
        if message % 10 == 0:
            raise MaybeSent("for nothing")
        return message


class WithTelegram(Crew):
    """Agents over another Telegram."""

    telegram_class: type[ChaosTelegram] = ChaosTelegram

    def telegram(self, container: Container) -> Telegram:
        return self.telegram_class(self.world.wire, container)


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
