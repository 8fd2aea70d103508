"""A gRPC proxy that carries bytes to a server and, as scripted, delays, hangs, refuses, cuts, or loses replies."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc

from tests.trips import Trips

Kind = Literal["delay", "hang", "refuse", "cut", "lose_reply"]

UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@dataclass
class Fault:
    """What happens to the next `times` calls of `method` (`Commit`, `BatchGetDocuments`, `RunQuery`, `*`).

    delay: carried after `seconds`. hang: never answered. refuse: `status` without being carried.
    cut: `status` after `after` messages of the answer. lose_reply: carried and applied, then `status`.
    """

    kind: Kind
    method: str = "*"
    times: int = 1
    seconds: float = 0.0
    after: int = 1
    status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    detail: str = "injected"


@dataclass
class FaultProxy(grpc.GenericRpcHandler):
    """The proxy in front of `target`.

    `injected` counts the faults by kind, `calls` the calls by method, `trips` holds when each began and ended;
    `hanging` is set when a call hangs.
    """

    target: str
    faults: list[Fault] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    trips: Trips = field(default_factory=Trips)
    host: str = ""
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Serve on a free port of the loopback; after `stop`, on the same one as before."""
        self._channel = grpc.aio.insecure_channel(self.target, options=UNLIMITED)
        self._server = grpc.aio.server(options=UNLIMITED)
        self._server.add_generic_rpc_handlers((self,))
        port = self._server.add_insecure_port(self.host or "127.0.0.1:0")
        self.host = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        """Drop what runs and close."""
        await self._server.stop(grace=None)
        await self._channel.close()

    def inject(self, *faults: Fault) -> None:
        """Script faults; the first that fits a call is used up first."""
        self.faults.extend(faults)

    def heal(self) -> None:
        """Forget what is still scripted."""
        self.faults.clear()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Handle every method as a stream of bytes both ways, which a unary call is a case of."""
        method = details.method

        async def handle(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            name = method.rpartition("/")[2]
            fault = self._next(name)
            with self.trips.made(name):
                if fault is not None:
                    await self._before(fault, context)
                count = 0
                async for message in self._carried(method, requests, context):
                    if fault is not None and fault.kind == "lose_reply":
                        continue
                    if fault is not None and fault.kind == "cut" and count == fault.after:
                        break
                    count += 1
                    yield message
            if fault is not None and fault.kind in ("cut", "lose_reply"):
                await context.abort(fault.status, fault.detail)

        return grpc.stream_stream_rpc_method_handler(handle)

    def _next(self, method: str) -> Fault | None:
        self.calls[method] += 1
        fault = next((each for each in self.faults if each.times and each.method in (method, "*")), None)
        if fault is not None:
            fault.times -= 1
            self.injected[fault.kind] += 1
        return fault

    async def _before(self, fault: Fault, context: Any) -> None:
        match fault.kind:
            case "delay":
                await asyncio.sleep(fault.seconds)
            case "hang":
                self.hanging.set()
                await asyncio.Event().wait()
            case "refuse":
                await context.abort(fault.status, fault.detail)

    async def _carried(
        self, method: str, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        metadata = [(key, value) for key, value in context.invocation_metadata() if _is_ours(key)]
        call: Any = self._stub(method)(requests, metadata=metadata)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        finally:
            call.cancel()

    def _stub(self, method: str) -> Callable[..., Any]:
        stub: Callable[..., Any] = self._channel.stream_stream(method)
        return stub


def _is_ours(key: str) -> bool:
    """gRPC writes its own headers itself."""
    return not key.startswith((":", "grpc-")) and key not in ("user-agent", "te", "content-type")
