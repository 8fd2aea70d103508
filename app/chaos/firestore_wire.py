"""The way from a container to the Firestore in memory: each single call may fail in all the ways of a network."""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from actors.stores import StoreError
from app.chaos.container import Container, outside
from app.chaos.faults import Faults
from app.chaos.firestore_link import COMMIT, QUERY, Answers, Link, Rpc
from app.chaos.firestore_model import Code, FirestoreModel, refusal
from app.chaos.firestore_queries import needs_index
from app.chaos.ledger import Ledger
from app.chaos.store_port import WAY_S, StoreLine
from app.chaos.world_store import WorldStore
from app.store.firestore_docs import MAILBOXES, SESSIONS
from app.store.firestore_ids import chat_id

T = TypeVar("T")

LATE_S: Final = 20.0
ERRAND: contextvars.ContextVar[str] = contextvars.ContextVar("errand", default="nowhere")
"""The place of the ledger's troubles for which the running task calls the store."""

_COMMITS_ONLY: Final = frozenset({"rpc_aborted", "rpc_locked", "rpc_reply_hangs"})


class FirestoreLine(StoreLine):
    """The adapter runs in its container and dies with it; what it sends goes over the wire call by call."""

    def __init__(
        self,
        database: WorldStore,
        faults: Faults,
        ledger: Ledger,
        dice: random.Random,
        model: FirestoreModel,
    ) -> None:
        super().__init__(database, faults, ledger, dice)
        self._model = model

    async def call(
        self,
        container: Container,
        where: str,
        work: Callable[[], Awaitable[T]],
        *,
        session: int | None = None,
        turn: int | None = None,
    ) -> T:
        """Have `work` done by the adapter, whose attempts and deadlines are its own."""
        del container, session
        errand = ERRAND.set(where)
        try:
            return await work()
        except StoreError:
            self._ledger.trouble(where)
            self._lose(turn)
            raise
        finally:
            ERRAND.reset(errand)

    def dial(self, container: Container) -> Any:
        """Open a channel for a container, as far as the adapter uses one."""
        wire = Wire(self, container)
        return Link(wire.carry, wire.launch)

    # ------------------------------------------------------------ of one call

    def strike(self, rpc: Rpc) -> str:
        """Draw the fault of a call."""
        fault = self._faults.draw("store") or self._faults.draw("rpc")
        if fault and not self._fits(fault, rpc):
            return self._faults.not_applicable(fault)
        return fault

    def tell(self, rpc: Rpc) -> None:
        """Something is wrong where this call belongs."""
        for chat in _chats_of(rpc):
            self._ledger.trouble(f"chat:{chat}")
        if rpc.method != COMMIT or not _chats_of(rpc):
            self._ledger.trouble(ERRAND.get())

    def _fits(self, fault: str, rpc: Rpc) -> bool:
        if fault == "store_no_index":
            return rpc.method == QUERY and needs_index(rpc.request.structured_query)
        if fault == "store_contention":
            return any(self.database.session(chat) is not None for chat in _sessions_of(rpc))
        if fault == "rpc_cut":
            return rpc.method != COMMIT
        return rpc.method == COMMIT or fault not in _COMMITS_ONLY

    async def carry(self, container: Container, rpc: Rpc, fault: str) -> Answers:
        """A call's way to the model and back, which no death of its container stops."""
        await asyncio.sleep(self._dice.uniform(*WAY_S))
        began_us = self._model.now_us()
        await self._meet(container, rpc, fault)
        if container.loop.time() < self.down_until_s:
            raise refusal(Code.UNAVAILABLE, "the store is out of order")
        answers = rpc.applied(self._model, began_us if fault == "rpc_locked" else 0)
        if fault:  # it takes effect now, perhaps long after its caller has given up
            self.tell(rpc)
        if fault == "store_late":
            for chat in _chats_of(rpc):
                self._lose(chat)  # its caller gave up long ago, and maybe died since
        return await self._returned(container, rpc, fault, answers)

    async def _meet(self, container: Container, rpc: Rpc, fault: str) -> None:
        """What happens on the way there."""
        match fault:
            case "store_unavailable":
                raise refusal(Code.UNAVAILABLE, "unavailable")
            case "store_denied":
                raise refusal(Code.PERMISSION_DENIED, "permission denied")
            case "store_exhausted":
                raise refusal(Code.RESOURCE_EXHAUSTED, "over quota")
            case "store_no_index":
                raise refusal(Code.FAILED_PRECONDITION, "The query requires an index")
            case "rpc_aborted":
                raise refusal(Code.ABORTED, "too much contention on these documents")
            case "store_slow" | "rpc_locked":
                await asyncio.sleep(self._dice.uniform(0.5, rpc.deadline_s - 0.1))
            case "store_hang" | "rpc_black_hole":
                await asyncio.sleep(rpc.deadline_s + 1.0)
                raise refusal(Code.UNAVAILABLE, "gone")
            case "store_late":
                await asyncio.sleep(rpc.deadline_s + self._dice.uniform(0.0, LATE_S))
            case "store_contention":
                for chat in _sessions_of(rpc):
                    self._write_between(chat)
            case "store_killed_before":
                container.kill()
        if not container.alive and self._dice.random() < 0.5:
            raise refusal(Code.CANCELLED, "its caller died before the request was written")

    async def _returned(self, container: Container, rpc: Rpc, fault: str, answers: Answers) -> Answers:
        """What happens on the way back."""
        match fault:
            case "store_killed_after":
                container.kill()
            case "store_reply_lost":
                raise refusal(Code.UNAVAILABLE, "the connection was lost")
            case "rpc_reply_hangs":
                await asyncio.sleep(rpc.deadline_s + 1.0)
            case "rpc_cut":
                whole = self._dice.randrange(len(answers))
                answers = [*answers[:whole], refusal(Code.UNAVAILABLE, "the stream was cut")]
        await asyncio.sleep(self._dice.uniform(*WAY_S))
        return answers


class Wire:
    """What one channel of a container lies on; once it is a black hole, nothing comes out of it any more."""

    def __init__(self, line: FirestoreLine, container: Container) -> None:
        self._line, self._container = line, container
        self._is_hole = False

    async def carry(self, rpc: Rpc) -> Answers:
        """A Carry."""
        fault = self._fault(rpc)
        if not fault:
            return await self._line.carry(self._container, rpc, "")
        self._line.tell(rpc)
        try:
            return await self._line.carry(self._container, rpc, fault)
        finally:
            self._line.tell(rpc)

    def launch(self, way: Coroutine[Any, Any, Answers]) -> "asyncio.Future[Answers]":
        """A Launch: outside of the container, which may die meanwhile, and into which a dead one does not get."""
        if not self._container.alive:
            way.close()
            raise asyncio.CancelledError
        return outside(self._container.loop, way)

    def _fault(self, rpc: Rpc) -> str:
        fault = "" if self._is_hole else self._line.strike(rpc)
        self._is_hole = self._is_hole or fault == "rpc_black_hole"
        return "rpc_black_hole" if self._is_hole else fault


def _chats_of(rpc: Rpc) -> list[int]:
    """The chats that a commit writes of."""
    return _written(rpc, SESSIONS, MAILBOXES)


def _sessions_of(rpc: Rpc) -> list[int]:
    """The chats whose sessions a commit writes."""
    return _written(rpc, SESSIONS)


def _written(rpc: Rpc, *collections: str) -> list[int]:
    if rpc.method != COMMIT:
        return []
    names = (write.update.name.rpartition("/documents/")[2] for write in rpc.request.writes)
    return list(dict.fromkeys(chat_id(name) for name in names if name.startswith(collections)))
