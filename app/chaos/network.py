"""The way between actors: pools of containers that take inputs as Modal's do, and messages that get lost."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from actors.actor import Actor
from actors.ports import Transport, Unreachable
from app.chaos.container import Container, outside
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger
from app.chaos.trace import Trace
from app.chaos.virtual_loop import VirtualLoop
from contracts.codec import read_session_reply
from contracts.sessions import SessionLoaded, SessionReply, TurnClaimed

ASK_S: Final = 10.0  # app.transport.remote.ASK_S
WARM_S: Final = 90.0  # app.transport.remote.WARM_S
TELL_S: Final = 5.0  # app.transport.remote.TELL_S
WAY_S: Final = (0.001, 0.006)  # one way between two containers
INTERNAL: Final = b"fault.internal"  # the tag, as it stands in a frame


class Input:
    """One call on its way to a container; `reply` is done when somebody has answered it, or nobody will."""

    def __init__(self, method: str, frame: bytes, reply: "asyncio.Future[bytes]") -> None:
        self.method, self.frame, self.reply = method, frame, reply

    def answered(self, frame: bytes) -> None:
        """Answer, unless that was done before."""
        if not self.reply.done():
            self.reply.set_result(frame)

    def failed(self, reason: str) -> None:
        """Say that nobody will answer."""
        if not self.reply.done():
            self.reply.set_exception(Unreachable(reason))
            self.reply.exception()  # a ticket has nobody who takes it


class Place:
    """A container in a pool, with its actor, the inputs that run in it, and how to start another like it."""

    def __init__(
        self, container: Container, actor: Actor[Any], again: Callable[[], Awaitable["Place"]]
    ) -> None:
        self.container, self.actor, self.again = container, actor, again
        self.inputs: dict[Input, None] = {}


class Pool:
    """The containers of one actor, or of one shard. Inputs wait while none is there."""

    def __init__(
        self,
        name: str,
        where: str,
        loop: VirtualLoop,
        *,
        dice: random.Random,
        ledger: Ledger,
        trace: Trace,
    ) -> None:
        """`where` is the place of the ledger's troubles: `shard:0`, `all`."""
        self.name, self.where = name, where
        self.places: list[Place] = []
        self.closed_until_s = 0.0
        self._loop, self._dice, self._ledger, self._trace = loop, dice, ledger, trace
        self._waiting: deque[Input] = deque()

    def join(self, place: Place) -> None:
        """Take a container in; what waited goes there."""
        if not self.places:
            self._ledger.trouble(self.where)
        self.places.append(place)
        self.flush()

    def leave(self, place: Place) -> None:
        """Route nothing more there."""
        if place in self.places:
            self.places.remove(place)

    def close_for(self, seconds: float) -> None:
        """Take no input for a while."""
        self.closed_until_s = self._loop.time() + seconds
        self._ledger.trouble(self.where, self.closed_until_s)
        self._loop.call_at(self.closed_until_s, self.flush)

    def submit(self, given: Input) -> None:
        """Run an input in some container, or keep it until there is one."""
        if not self.places or self._loop.time() < self.closed_until_s:
            self._waiting.append(given)
            return
        place = self._dice.choice(self.places)
        place.inputs[given] = None
        place.container.run(self._run(place, given), f"{self.name} {given.method}")

    def flush(self) -> None:
        """Give what waits to the containers."""
        waiting, self._waiting = self._waiting, deque()
        for given in waiting:
            self.submit(given)

    def abandoned(self, place: Place) -> None:
        """The container died: Modal runs its inputs again, or their callers learn that it is gone."""
        self.leave(place)
        for given in list(place.inputs):
            if (chat := chat_of(given.frame)) is not None:
                self._ledger.causes.hit(chat, "container died")
            if self._dice.random() < 0.7:
                self.submit(given)
            else:
                given.failed(f"{self.name}: its container died")
        place.inputs.clear()

    async def _run(self, place: Place, given: Input) -> None:
        reply = await getattr(place.actor, given.method)(given.frame)
        if place.container.alive:
            place.inputs.pop(given, None)
            self._look_at(place, given, reply)
            given.answered(reply)

    def _look_at(self, place: Place, given: Input, reply: bytes) -> None:
        """Check what an actor says: no defects, and no session that was not durable."""
        if INTERNAL in reply[:64]:
            self._ledger.broke("defect", f"{place.container.name}: {reply[:300]!r}")
        if given.method != "ask":
            return
        asked, said = _glance(given.frame), _glance(reply)
        self._trace.note("handled", place.container.name, asked.type, asked.chat, said.type, said.update)
        if self.where.startswith("shard"):
            self._check_session(read_session_reply(reply))

    def _check_session(self, reply: SessionReply) -> None:
        match reply:
            case SessionLoaded(session=session, version=version):
                self._ledger.read(session, version)
            case TurnClaimed(session=session, version=version):
                self._ledger.began(session, version)


class _Glance(msgspec.Struct):
    """What the trace tells of a message."""

    type: str
    chat: int = 0
    update: int = 0


_glance = msgspec.msgpack.Decoder(_Glance).decode


class Network:
    """Loses, delays and doubles what is said between containers."""

    def __init__(
        self, loop: VirtualLoop, faults: Faults, ledger: Ledger, trace: Trace, dice: random.Random
    ) -> None:
        self._loop, self._faults, self._ledger, self._trace, self._dice = loop, faults, ledger, trace, dice

    def line(self, caller: Container, pool: Pool) -> "Line":
        """A container's way to a pool."""
        return Line(self, caller, pool)

    async def ask(self, caller: Container, pool: Pool, method: str, frame: bytes) -> bytes:
        """Give the reply's frame; raises Unreachable."""
        fault = self._faults.draw("ask")
        where = place_of(frame, pool) if fault else ""
        if fault:
            self._trace.note(fault, caller.name, pool.name, method)
            self._ledger.trouble(where)
        if fault == "ask_killed":
            self._loop.call_later(self._dice.uniform(0.0, 0.02), caller.kill)
        deadline_s = WARM_S if method == "warm" else ASK_S
        try:
            return await caller.reach(self._carry(caller, pool, method, frame, fault), deadline_s)
        except TimeoutError:
            self._lose(frame)
            raise Unreachable(f"{pool.name}: no answer within {deadline_s:g} s") from None
        except Unreachable:
            self._lose(frame)
            raise
        finally:
            if fault:
                self._ledger.trouble(where)

    async def tell(self, caller: Container, pool: Pool, frame: bytes) -> None:
        """Have the frame handled by the pool some time; raises Unreachable."""
        fault = self._faults.draw("tell")
        if fault:
            self._trace.note(fault, caller.name, pool.name)
            self._ledger.trouble(place_of(frame, pool))
        if fault == "tell_killed":
            caller.kill()
        try:
            await caller.reach(self._queue(pool, frame, fault), TELL_S)
        except TimeoutError:
            raise Unreachable(f"{pool.name}: not queued within {TELL_S:g} s") from None

    def _lose(self, frame: bytes) -> None:
        if (chat := chat_of(frame)) is not None:
            self._ledger.causes.hit(chat, "message lost")

    async def _carry(self, caller: Container, pool: Pool, method: str, frame: bytes, fault: str) -> bytes:
        given_up_at = self._loop.time() + ASK_S
        await asyncio.sleep(self._way_s(fault == "ask_slow", 6.0))
        if fault != "ask_lost":
            given = self._submit(pool, method, frame)
            if fault == "ask_twice":
                self._submit(pool, method, frame)
            reply = await given.reply
            if not caller.alive or self._loop.time() >= given_up_at:
                self._lose(frame)  # it takes effect now, and whoever asked for it does not learn of that
            if fault != "ask_reply_lost":
                await asyncio.sleep(self._dice.uniform(*WAY_S))
                return reply
        await asyncio.sleep(WARM_S)  # longer than anybody waits
        raise Unreachable(f"{pool.name}: lost")

    async def _queue(self, pool: Pool, frame: bytes, fault: str) -> None:
        await asyncio.sleep(self._dice.uniform(*WAY_S))
        if fault != "tell_lost":
            outside(self._loop, self._deliver(pool, frame, fault))

    async def _deliver(self, pool: Pool, frame: bytes, fault: str) -> None:
        await asyncio.sleep(self._way_s(fault == "tell_slow", 20.0))
        for _ in range(2 if fault == "tell_twice" else 1):
            self._submit(pool, "ask", frame)

    def _submit(self, pool: Pool, method: str, frame: bytes) -> Input:
        given = Input(method, frame, self._loop.create_future())
        pool.submit(given)
        return given

    def _way_s(self, slow: bool, most_s: float) -> float:
        return self._dice.uniform(0.5, most_s) if slow else self._dice.uniform(*WAY_S)


class Line(Transport):
    """The port Transport from one container to a pool."""

    def __init__(self, network: Network, caller: Container, pool: Pool) -> None:
        self._network, self._caller, self._pool = network, caller, pool

    async def ask(self, frame: bytes) -> bytes:
        """Give the reply's frame."""
        return await self._network.ask(self._caller, self._pool, "ask", frame)

    async def tell(self, frame: bytes) -> None:
        """Hand the frame over."""
        await self._network.tell(self._caller, self._pool, frame)

    async def warm(self, frame: bytes = b"") -> bytes:
        """Give the frame of a WarmReport."""
        return await self._network.ask(self._caller, self._pool, "warm", frame)

    async def stats(self) -> bytes:
        """Give the frame of an ActorStats."""
        raise Unreachable("statistics are asked of the actors themselves")


def place_of(frame: bytes, pool: Pool) -> str:
    """Where a lost message is missed: in its chat, else in whatever the pool serves."""
    chat = chat_of(frame)
    return pool.where if chat is None else f"chat:{chat}"


def chat_of(frame: bytes) -> int | None:
    """The chat that a message is about, if it is about one."""
    message = msgspec.msgpack.decode(frame) if frame else {}
    found: int | None = message.get("chat", message.get("incoming", {}).get("chat"))
    return found
