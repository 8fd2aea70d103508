"""Containers with a session shard and an agent behind references, over one memory store, one screen, one registry."""

import asyncio
from collections import Counter
from collections.abc import Callable

from actors import session_codec
from actors.actor import Actor
from actors.chat_agent import ChatAgent
from actors.meter import Meter
from actors.ports import Transport, Unreachable
from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef
from actors.session_cache import SessionCacheActor, SessionCacheOptions
from actors.turns import TurnRecord, unpack
from contracts.base import Message
from contracts.codec import encode, read_skill_request
from contracts.faults import Fault, SkillNotFound, Unsupported
from contracts.sessions import (
    AcceptUpdate,
    SessionReply,
    SessionRequest,
    SweepTurns,
    TurnsStranded,
    UpdateAccepted,
)
from contracts.skills import (
    Catalog,
    GetCatalog,
    GetResource,
    GetSkill,
    ReportRun,
    Resource,
    RunRecorded,
    Skill,
    SkillSummary,
)
from contracts.turns import Incoming, Session
from tests.actors.fakes import (
    BarRenderer,
    FakeModel,
    FakeTelegram,
    KitBackground,
    Life,
    Screen,
    SeededChance,
    VirtualClock,
)
from tests.actors.memory_database import MemoryDatabase
from tests.actors.memory_store import MemorySessionStore, Mishap

BOT = 7
CHAT = 500
CALL_S = 10.0  # as the local transport's


class Place:
    """Where an actor stands; callers keep their reference while it is replaced. `second` shares its calls."""

    def __init__(self, pick: Callable[[], bool]) -> None:
        self.actor: Actor | None = None  # type: ignore[type-arg]
        self.second: Actor | None = None  # type: ignore[type-arg]
        self._pick = pick

    def choose(self) -> Actor:  # type: ignore[type-arg]
        """Who gets the next call."""
        chosen = self.second if self.second is not None and self._pick() else self.actor
        if chosen is None:
            raise Unreachable("nobody is there")
        return chosen


class Wire(Transport):
    """Frames to whoever stands at a place; the answer may be lost, and a dead container gives none."""

    def __init__(
        self, place: Place, background: KitBackground, life: Life | None = None, deadline_s: float = CALL_S
    ) -> None:
        self._deadline_s = deadline_s
        self._place, self._background, self._life = place, background, life or Life()
        self.running: set[asyncio.Task[bytes]] = set()
        self.lose: Callable[[bytes], bool] = lambda _: False
        self.older: Callable[[bytes], bool] = lambda _: False  # which frames the other side does not know yet

    async def ask(self, frame: bytes) -> bytes:
        await self._life.step()
        if self.older(frame):
            return encode(Unsupported())
        answer = await self._within(frame)
        await self._life.step()
        if self.lose(frame):
            raise Unreachable("the answer was lost")
        return answer

    async def _within(self, frame: bytes) -> bytes:
        task = asyncio.create_task(self._actor().ask(frame))
        self.running.add(task)
        done, _ = await asyncio.wait({task}, timeout=self._deadline_s)
        if not done:
            raise Unreachable("no answer")
        self.running.discard(task)
        return task.result()

    async def tell(self, frame: bytes) -> None:
        self._background.spawn("told", lambda: self._actor().ask(frame))

    async def warm(self, frame: bytes = b"") -> bytes:
        return await self._actor().warm(frame)

    async def stats(self) -> bytes:
        return await self._actor().stats()

    def _actor(self) -> Actor:  # type: ignore[type-arg]
        return self._place.choose()


class Registry(Transport):
    """A skill registry of two skills; `fault` is what it answers instead."""

    def __init__(self) -> None:
        self.skills = {
            "cook": Skill(name="cook", description="Cook a meal", body="Boil."),
            "sing": Skill(name="sing"),
        }
        self.fault: Fault | None = None
        self.fingerprint = "f"
        self.asked: list[Message] = []
        self.hangs, self.latency_s = False, 0.0
        self.menu = b"Soup."
        self.runs: list[ReportRun] = []

    async def ask(self, frame: bytes) -> bytes:
        if self.hangs:
            await asyncio.sleep(CALL_S)
            raise Unreachable("no answer")
        self.asked.append(request := read_skill_request(frame))
        answer = encode(self.fault or self._answer(request))
        await asyncio.sleep(self.latency_s)
        return answer

    def _answer(self, request: Message) -> Message:
        match request:
            case GetCatalog():
                known = (
                    SkillSummary(name=each.name, description=each.description)
                    for each in self.skills.values()
                )
                return Catalog(fingerprint=self.fingerprint, skills=tuple(known))
            case GetSkill(name=name):
                return self.skills.get(name) or SkillNotFound(name=name, suggestions=("cook",))
            case GetResource(skill=skill, path="menu.txt"):
                return Resource(skill=skill, path="menu.txt", content=self.menu)
            case GetResource():
                return Fault(detail="no such file")
            case ReportRun():
                self.runs.append(request)
                return RunRecorded(skill=request.skill)
            case _:
                raise AssertionError(request)

    async def tell(self, frame: bytes) -> None:
        await self.ask(frame)

    async def warm(self, frame: bytes = b"") -> bytes:
        raise AssertionError("nobody warms it here")

    async def stats(self) -> bytes:
        raise AssertionError("nobody asks it here")


class Container:
    """A shard and an agent in one process, which can be killed."""

    def __init__(self, world: "World", number: int, shard_life: Life, agent_life: Life) -> None:
        self.lives = shard_life, agent_life
        self.meter = Meter()
        self.shard_background, self.agent_background = KitBackground(shard_life), KitBackground(agent_life)
        self.store = MemorySessionStore(world.database, self.meter, shard_life, chaos=world.chaos)
        self.shard = SessionCacheActor(
            0,
            store=self.store,
            images=self.store,
            meter=self.meter,
            clock=VirtualClock(shard_life),
            chance=SeededChance(f"shard{number}", number),
            background=self.shard_background,
            options=world.options,
        )
        self.telegram, self.model = FakeTelegram(world.screen, agent_life), FakeModel(agent_life)
        self.wire = Wire(world.shard_place, self.agent_background, agent_life)
        self.agent = ChatAgent(
            skills=SkillRegistryRef("SkillRegistryActor", world.registry),
            sessions=SessionsRef([SessionShardRef("SessionCacheActor", self.wire)]),
            agents=ChatAgentRef("ChatAgent", Wire(world.agent_place, world.background)),
            telegram=self.telegram,
            model=self.model,
            renderer=BarRenderer(),
            clock=VirtualClock(agent_life),
            chance=SeededChance(f"agent{number}", number),
            background=self.agent_background,
        )

    def kill(self) -> None:
        """kill -9."""
        for life in self.lives:
            life.end()

    async def stop(self) -> None:
        """The orderly end, agent first."""
        await self.agent.stop()
        await self.agent_background.drain(10.0)
        await self.shard.stop()
        await self.shard_background.drain(10.0)


class World:
    """All that outlives containers; `shard` and `agent` are references to whoever runs now."""

    def __init__(
        self,
        *,
        mailbox_limit: int = 100,
        chaos: Callable[[str], Mishap | None] = lambda _: None,
        pick: Callable[[], bool] = lambda: True,
    ) -> None:
        self.options, self.chaos = SessionCacheOptions(mailbox_limit=mailbox_limit), chaos
        self.database, self.screen, self.registry = MemoryDatabase(), Screen(), Registry()
        self.shard_place, self.agent_place = Place(pick), Place(pick)
        self.background = KitBackground()
        self.containers: list[Container] = []
        self.shard = SessionShardRef("SessionCacheActor", Wire(self.shard_place, self.background))
        self.agent = ChatAgentRef("ChatAgent", Wire(self.agent_place, self.background, deadline_s=60.0))

    @property
    def now(self) -> Container:
        """The container that runs."""
        return self.containers[-1]

    def make(self, shard_life: Life | None = None, agent_life: Life | None = None) -> Container:
        """Make a container beside the one that runs, not started."""
        made = Container(self, len(self.containers), shard_life or Life(), agent_life or Life())
        self.containers.append(made)
        return made

    async def boot(
        self, shard_life: Life | None = None, agent_life: Life | None = None, *, beside: bool = False
    ) -> Container:
        """Start a container and put it in the place of what ran there, or beside it."""
        made = self.make(shard_life, agent_life)
        for place, actor in ((self.shard_place, made.shard), (self.agent_place, made.agent)):
            place.second = place.actor if beside else None
            place.actor = actor
        await asyncio.gather(made.shard.start(), made.agent.start())
        return made

    async def bury(self) -> None:
        """End every task of every container, without a word."""
        for container in self.containers:
            for life in container.lives:
                life.over = life.buried = True
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # ------------------------------------------------------------ what happens

    async def ask(self, request: SessionRequest) -> SessionReply:
        """Ask the shard."""
        return await self.shard.ask(request)

    async def accept(
        self, update: int, text: str = "hello", chat: int = CHAT, **more: object
    ) -> SessionReply:
        """Bring an update to the shard."""
        return await self.ask(AcceptUpdate(bot=BOT, update=update, incoming=said(text, chat, **more)))

    async def say(self, update: int, text: str = "hello", chat: int = CHAT, **more: object) -> None:
        """Bring an update and its ticket."""
        assert isinstance(await self.accept(update, text, chat, **more), UpdateAccepted)
        await self.agent.take_turn(chat)

    async def idle(self) -> None:
        """Wait until what was told to agents has been worked on."""
        while self.background.tasks:
            await asyncio.wait(set(self.background.tasks))

    async def sweep(self) -> tuple[int, ...]:
        """Sweep once; gives the chats that were handed to the agent."""
        try:
            reply = await self.ask(SweepTurns())
        except Unreachable:
            return ()
        if not isinstance(reply, TurnsStranded):
            return ()
        for chat, (bot, update) in zip(reply.chats, reply.updates, strict=True):
            await self.agent.take_turn(chat, bot, update)
        return reply.chats

    async def settle(self, within_s: float = 600.0) -> None:
        """Sweep every 5 s until no update is open."""
        async with asyncio.timeout(within_s):
            while any(record.open for record in self.database.updates.values()):
                await self.sweep()
                await asyncio.sleep(5.0)

    # ------------------------------------------------------------ what can be seen

    def session(self, chat: int = CHAT) -> Session:
        """The stored session."""
        return session_codec.unpack(self.database.sessions[chat].body)

    def turn(self, update: int) -> TurnRecord:
        """The stored turn of an update."""
        return unpack(self.database.updates[f"{BOT}:{update}"])

    def state(self, update: int) -> str:
        """The stored state of an update."""
        return self.database.updates[f"{BOT}:{update}"].state

    def counted(self) -> Counter[str]:
        """The shard's counters."""
        return Counter(self.now.shard.counters)


def said(text: str, chat: int = CHAT, **more: object) -> Incoming:
    """What a person wrote in a private chat."""
    fields = {"kind": "message", "chat": chat, "user": chat, "user_name": "Ada", "text": text}
    return Incoming(**(fields | more))  # type: ignore[arg-type]  # a test names fields as Incoming has them
