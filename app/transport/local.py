"""Carries frames to an actor of the same process: the same bytes and the same promises as across Modal."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from actors.ports import Background, Unreachable
from app.deadlines import Deadline


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
        self._running: dict[asyncio.Task[bytes], asyncio.Future[None]] = {}

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
        task, over = loop.create_task(answer), loop.create_future()
        self._running[task] = over  # the loop itself holds tasks weakly
        task.add_done_callback(self._ended)
        try:
            with self._deadline.wait():
                await over  # and not the task, which goes on when the caller leaves
        except TimeoutError:
            raise Unreachable(f"no answer within {self._deadline.after_s:g} s") from None
        if task.cancelled():  # not the caller: the actor is stopping
            raise Unreachable("the actor is stopping")
        return task.result()

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        over = self._running.pop(task)
        if not over.done():  # the caller may have left
            over.set_result(None)
        if not task.cancelled():
            task.exception()  # a caller that has gone can't be told; the actor has logged its own defects
