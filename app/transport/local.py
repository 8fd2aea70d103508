"""Carries frames to an actor of the same process: the same bytes and the same promises as across Modal."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from actors.ports import Background, Unreachable
from app.deadlines import Deadline, DeadlinePassed


class Answering(Protocol):
    """What this transport needs of an actor (`actors.actor.Actor`)."""

    async def ask(self, frame: bytes) -> bytes:
        """Answer one message."""

    async def warm(self, frame: bytes = b"") -> bytes:
        """Load the slice."""

    async def stats(self) -> bytes:
        """Tell of itself."""


class LocalTransport:
    """The port Transport over an actor's methods.

    A caller whose deadline passes leaves the actor's work running, as it would across Modal: a message may
    have been handled. That work is bounded by the deadlines of the ports that it waits for.
    """

    def __init__(self, actor: Answering, background: Background, deadline_s: float) -> None:
        self._actor, self._background, self._deadline = actor, background, Deadline(deadline_s)
        self._running: dict[asyncio.Task[bytes], asyncio.Future[bytes]] = {}

    async def ask(self, frame: bytes) -> bytes:
        """Give the reply's frame; raises Unreachable when the deadline passes."""
        return await self._within(self._actor.ask(frame))

    async def tell(self, frame: bytes) -> None:
        """Have the frame answered beside the caller."""
        self._background.spawn("told", lambda: self._actor.ask(frame))

    async def warm(self, frame: bytes = b"") -> bytes:
        """Give the frame of a WarmReport; the actor's own warming deadline bounds it."""
        return await self._actor.warm(frame)

    async def stats(self) -> bytes:
        """Give the frame of an ActorStats; raises Unreachable when the deadline passes."""
        return await self._within(self._actor.stats())

    async def _within(self, answer: Coroutine[Any, Any, bytes]) -> bytes:
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[bytes] = loop.create_future()
        task = loop.create_task(answer)
        self._running[task] = reply  # the loop itself holds tasks weakly
        task.add_done_callback(self._ended)
        try:
            return await self._deadline.result(
                reply
            )  # and not the task's, which goes on when the caller leaves
        except DeadlinePassed:
            raise Unreachable(f"no answer within {self._deadline.after_s:g} s") from None

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        reply = self._running.pop(task)
        error = Unreachable("the actor is stopping") if task.cancelled() else task.exception()
        if reply.done():
            return  # a caller that has gone can't be told; the actor has logged its own defects
        if error is not None:
            reply.set_exception(error)
        else:
            reply.set_result(task.result())
