"""The local transport keeps the remote one's promises."""

import asyncio
import gc
import weakref

import pytest

from actors.ports import Unreachable
from app.runtime import Tasks
from app.transport.local import LocalTransport


class Echo:
    """An actor that answers with what it was asked, when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answered: list[bytes] = []
        self.failure: Exception | None = None

    async def ask(self, frame: bytes) -> bytes:
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        self.answered.append(frame)
        return b"re:" + frame

    async def warm(self, frame: bytes = b"") -> bytes:
        return b"warm:" + frame

    async def stats(self) -> bytes:
        await self.may_answer.wait()
        return b"stats"


async def test_the_same_bytes_go_in_and_out() -> None:
    """Frames are carried untouched."""
    transport = LocalTransport(Echo(), Tasks(), 1.0)
    assert await transport.ask(b"a") == b"re:a"
    assert (await transport.warm(), await transport.warm(b"x")) == (b"warm:", b"warm:x")
    assert await transport.stats() == b"stats"


async def test_past_the_deadline_the_caller_leaves_and_the_work_goes_on() -> None:
    """As across Modal: Unreachable says that the message may have been handled, and here it was."""
    actor = Echo()
    actor.may_answer.clear()
    transport = LocalTransport(actor, Tasks(), 0.01)
    with pytest.raises(Unreachable, match=r"no answer within 0\.01 s"):
        await transport.ask(b"a")
    with pytest.raises(Unreachable):
        await transport.stats()
    actor.may_answer.set()
    await asyncio.sleep(0.01)
    assert actor.answered == [b"a"]


async def test_work_whose_caller_has_left_is_held() -> None:
    """The loop holds tasks weakly, so that without a holder the collector would end a write midway."""
    waiting: list[weakref.ref[asyncio.Future[bytes]]] = []

    class Waits(Echo):
        async def ask(self, frame: bytes) -> bytes:
            answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            waiting.append(weakref.ref(answer))
            return await answer

    transport = LocalTransport(Waits(), Tasks(), 0.01)
    with pytest.raises(Unreachable):
        await transport.ask(b"a")
    gc.collect()
    (answer,) = (reference() for reference in waiting)
    assert answer is not None
    answer.set_result(b"")


async def test_a_caller_that_is_cancelled_leaves_the_work_going_on() -> None:
    """A write that has begun is not torn by whoever asked for it."""
    actor = Echo()
    actor.may_answer.clear()
    asking = asyncio.create_task(LocalTransport(actor, Tasks(), 5.0).ask(b"a"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    actor.may_answer.set()
    await asyncio.sleep(0.01)
    assert actor.answered == [b"a"]


async def test_tell_does_not_wait() -> None:
    """The frame is handed over, and answered beside the caller."""
    actor, tasks = Echo(), Tasks()
    actor.may_answer.clear()
    await LocalTransport(actor, tasks, 0.01).tell(b"a")
    assert (actor.answered, len(tasks)) == ([], 1)
    actor.may_answer.set()
    await tasks.drain(1.0)
    assert actor.answered == [b"a"]


async def test_a_defect_reaches_who_asked() -> None:
    """An exception of the actor's is no silence."""
    actor = Echo()
    actor.failure = RuntimeError("defect")
    with pytest.raises(RuntimeError, match="defect"):
        await LocalTransport(actor, Tasks(), 1.0).ask(b"a")
