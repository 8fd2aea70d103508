"""Has updates accepted by their shards: those that arrive in the same turn of the event loop go as one message."""

import asyncio
from collections.abc import Sequence
from typing import Final

from actors.ports import Unreachable
from actors.refs import SessionShardRef
from app.deadlines import Deadline
from app.fleet import Fleet
from contracts.faults import BadRequest, Internal, TooLarge, Unsupported
from contracts.sessions import ACCEPTS_MOST, AcceptUpdate, AcceptUpdates, SessionReply, UpdatesAccepted

GROUP_BYTES_MOST: Final = (
    1024 * 1024
)  # of bodies, which are longer than what is sent of them; Modal carries 2 MiB
REFUSED_WHOLE: Final = (BadRequest, Unsupported, TooLarge, Internal, UpdatesAccepted)
"""What one update can bring upon its group, and a shard that is older than the message; results of another number."""

UNSENDABLE: Final = (ValueError, OverflowError)
"""What encoding a message raises for one of its values."""

Answer = SessionReply | BaseException
Reply = asyncio.Future[SessionReply]


class Accepting:
    """Takes updates one by one, and gives each its own answer."""

    def __init__(self, fleet: Fleet, deadline_s: float) -> None:
        self._fleet, self._deadline = fleet, Deadline(deadline_s)
        self._arriving: dict[SessionShardRef, _Group] = {}
        self._sending: dict[asyncio.Task[None], _Group] = {}  # the loop itself holds tasks weakly

    def accept(self, update: AcceptUpdate, size: int) -> Reply:
        """Give what the update's shard will answer; Unreachable where nobody does within the deadline.

        `size` is that of the update's body, in bytes. Who no longer waits may cancel it, which stops nothing.
        """
        loop = asyncio.get_running_loop()
        shard = self._fleet.sessions.of(update.incoming.chat)
        reply: Reply = loop.create_future()
        group = self._arriving.get(shard)
        if group is None or not group.take(update, reply, size):
            self._send(shard)
            self._arriving[shard] = _Group(shard, update, reply, size)
            loop.call_soon(self._send, shard)
        return reply

    def _send(self, shard: SessionShardRef) -> None:
        group = self._arriving.pop(shard, None)
        if group is None:
            return  # the shard's first, or one that was full before the turn of the loop was over
        task = asyncio.get_running_loop().create_task(self._ask(group))
        self._sending[task] = group
        task.add_done_callback(self._sent)

    async def _ask(self, group: "_Group") -> None:
        """Ask within the deadline, which is that of each of its updates: they came in the same moment."""
        with self._deadline.wait():
            group.answer(await group.ask())

    def _sent(self, task: asyncio.Task[None]) -> None:
        group = self._sending.pop(task)
        if task.cancelled():
            group.abandon()
        elif error := task.exception():
            group.fail(error)


class _Group:
    """Updates on their way to a shard, and those who wait for the answers; the first may be of any size."""

    __slots__ = ("_replies", "_shard", "_size", "_updates")

    def __init__(self, shard: SessionShardRef, update: AcceptUpdate, reply: Reply, size: int) -> None:
        self._shard, self._size = shard, size
        self._updates, self._replies = [update], [reply]

    def take(self, update: AcceptUpdate, reply: Reply, size: int) -> bool:
        """Take another one of so many bytes, if there is room for it."""
        if len(self._updates) >= ACCEPTS_MOST or self._size + size > GROUP_BYTES_MOST:
            return False
        self._updates.append(update)
        self._replies.append(reply)
        self._size += size
        return True

    async def ask(self) -> Sequence[Answer]:
        """Ask the shard; gives an answer for each. What is refused as a whole goes again, one by one."""
        if len(self._updates) == 1:
            return [await self._shard.ask(self._updates[0])]
        try:
            reply = await self._shard.ask(AcceptUpdates(updates=tuple(self._updates)))
        except UNSENDABLE:
            return await self._ask_each()
        if isinstance(reply, UpdatesAccepted) and len(reply.results) == len(self._updates):
            return reply.results
        if isinstance(reply, REFUSED_WHOLE):
            return await self._ask_each()
        return [reply] * len(self._updates)

    async def _ask_each(self) -> Sequence[Answer]:
        """Ask for each alone, all at once and in their order; those that the shard has accepted are duplicates now."""
        return await asyncio.gather(*map(self._shard.ask, self._updates), return_exceptions=True)

    def answer(self, answers: Sequence[Answer]) -> None:
        """Give each its own."""
        for reply, answer in zip(self._replies, answers, strict=True):
            if reply.done():
                continue  # whoever waited has gone
            if isinstance(answer, BaseException):
                reply.set_exception(answer)
            else:
                reply.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Tell all that there is no answer."""
        away = isinstance(error, Unreachable | TimeoutError)
        reason = str(error) or "the deadline passed"
        self.answer([Unreachable(reason) if away else error for _ in self._replies])

    def abandon(self) -> None:
        """Tell all that the process ends."""
        for reply in self._replies:
            reply.cancel()
