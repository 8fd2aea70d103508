"""What the adapter uses of a gRPC channel, over the model: its calls, their deadlines, and its end."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, NamedTuple

import grpc
from google.cloud.firestore_v1 import types

from app.chaos.firestore_model import Code, FirestoreModel, refusal

COMMIT: Final = "Commit"
QUERY: Final = "RunQuery"

_Commit: Final[Any] = types.CommitRequest.pb()


class Rpc(NamedTuple):
    """A call on its way: which one, its request (protobuf), and its deadline on the wire in seconds."""

    method: str
    request: Any
    deadline_s: float

    def applied(self, model: FirestoreModel, began_us: int = 0) -> list[Any]:
        """Give the model's answers; a commit's time of request is `began_us`, now if none is given."""
        if self.method == COMMIT:
            return [model.commit(self.request, began_us)]
        return model.run_query(self.request) if self.method == QUERY else model.batch_get(self.request)


Answers = Sequence[Any]
"""An error in last place cuts a stream short."""
Carry = Callable[[Rpc], Coroutine[Any, Any, Answers]]
"""A call's way through the world, and back; raises what gRPC raises."""
Launch = Callable[[Coroutine[Any, Any, Answers]], "asyncio.Future[Answers]"]
"""Sends a call on its way, on which it goes on when its caller gives up."""


class Link:
    """A channel. Calls that run when it closes are cancelled, later ones are refused, as gRPC does both."""

    def __init__(self, carry: Carry, launch: Launch = asyncio.ensure_future) -> None:
        self._carry, self._launch = carry, launch
        self._closed = asyncio.get_running_loop().create_future()

    def unary_stream(self, method: str, **_codecs: Any) -> Callable[..., "Stream"]:
        """Give a call whose answers come one by one."""
        name = method.rpartition("/")[2]
        return lambda request, *, timeout, metadata: Stream(self._call(Rpc(name, request, timeout)), metadata)

    def unary_unary(self, method: str, **_codecs: Any) -> Callable[..., Awaitable[Any]]:
        """Give a call that has one answer; its request comes packed."""
        name = method.rpartition("/")[2]

        async def call(packed: bytes, *, timeout: float, metadata: Any) -> Any:  # gRPC's word
            del metadata
            return (await self._call(Rpc(name, _Commit.FromString(packed), timeout)))[0]

        return call

    async def close(self) -> None:
        """Cancel what runs, refuse what comes; idempotent."""
        if not self._closed.done():
            self._closed.set_result(None)

    async def _call(self, rpc: Rpc) -> Answers:
        if self._closed.done():
            raise grpc.aio.UsageError("Channel is closed.")
        sent = self._launch(self._carry(rpc))
        ends = (sent, self._closed)
        await asyncio.wait(ends, timeout=rpc.deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if sent.done():
            return sent.result()
        if self._closed.done():
            raise asyncio.CancelledError
        raise refusal(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")


class Stream:
    """The answers of a call, one by one."""

    def __init__(self, call: Coroutine[Any, Any, Answers], metadata: Any) -> None:
        del metadata
        self._call = call
        self._answers: Iterator[Any] | None = None

    def __aiter__(self) -> "Stream":
        """Iterate once."""
        return self

    async def __anext__(self) -> Any:
        """Give the next answer, or raise what has cut the stream."""
        if self._answers is None:
            self._answers = iter(await self._call)
        answer = next(self._answers, None)
        if answer is None:
            raise StopAsyncIteration
        if isinstance(answer, grpc.RpcError):
            raise answer
        return answer

    def cancel(self) -> None:
        """Want no more."""
        self._answers = iter(())


def linked(model: FirestoreModel) -> Callable[[], Any]:
    """Give a dial to the model, on which nothing takes time or fails by itself."""

    async def carry(rpc: Rpc) -> Answers:
        return rpc.applied(model)

    return lambda: Link(carry)
