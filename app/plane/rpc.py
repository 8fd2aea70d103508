"""Serves tables of handlers as Modal's gRPC service; what stands in no table is refused by its name."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from grpclib.const import Handler
from grpclib.server import Stream
from modal_proto import api_grpc

from app.plane.errors import denied, unknown

Unary = Callable[[Any], Awaitable[Any]]
Streaming = Callable[[Any], AsyncIterator[Any]]

TOKEN_HEADER: Final = "x-modal-token-secret"  # noqa: S105 - the header's name


class Surface:
    """What a grpclib server serves: the whole service, answered from two tables."""

    def __init__(
        self, unary: Mapping[str, Unary], streaming: Mapping[str, Streaming], token_secret: str = ""
    ) -> None:
        """With a secret, requests must bring it."""
        self._unary, self._streaming = unary, streaming
        self._secret = token_secret.encode()

    def __mapping__(self) -> dict[str, Handler]:
        """Every method of the service by its path."""
        return {
            path: handler._replace(func=self._handler(path.rpartition("/")[2]))
            for path, handler in SERVICE.items()
        }

    def _handler(self, name: str) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        if name in self._unary:
            return self._serve_unary(self._unary[name])
        if name in self._streaming:
            return self._serve_stream(self._streaming[name])
        return _refuse(name)

    def _serve_unary(self, handler: Unary) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def serve(stream: Stream[Any, Any]) -> None:
            self._check(stream)
            request = await stream.recv_message()
            await stream.send_message(await handler(request))

        return serve

    def _serve_stream(self, handler: Streaming) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def serve(stream: Stream[Any, Any]) -> None:
            self._check(stream)
            async for reply in handler(await stream.recv_message()):
                await stream.send_message(reply)

        return serve

    def _check(self, stream: Stream[Any, Any]) -> None:
        if not self._secret:
            return
        given = stream.metadata.get(TOKEN_HEADER, "") if stream.metadata else ""
        if not hmac.compare_digest(str(given).encode(), self._secret):
            raise denied()


# ---------------------------------------------------------------- helpers


def _refuse(name: str) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
    async def refuse(_: Stream[Any, Any]) -> None:
        raise unknown(name)

    return refuse


def _service() -> Mapping[str, Handler]:
    """Paths, cardinalities and message types of every method, as the client's package ships them."""
    names = dict.fromkeys(api_grpc.ModalClientBase.__abstractmethods__)
    methods: Mapping[str, Handler] = type("Service", (api_grpc.ModalClientBase,), names)().__mapping__()
    return methods


SERVICE: Final = _service()  # the same for every container's server
