"""Serves tables of handlers as Modal's gRPC service; what stands in no table is refused by its name."""

import hmac
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import structlog
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from modal_proto import api_grpc

from app.plane.errors import denied, exhausted, malformed, unknown
from app.plane.fields import pack
from app.plane.http2 import MOST_BODY, Exchange

log = structlog.get_logger(__name__)

Unary = Callable[[Any], Awaitable[Any]]
Streaming = Callable[[Any], AsyncIterator[Any]]
Answer = Callable[[Exchange], Awaitable[None]]

TOKEN_FIELD: Final = b"x-modal-token-secret"
OPENING: Final = ((":status", "200"), ("content-type", "application/grpc"))
HEAD: Final = pack(OPENING)
TAIL: Final = pack((("grpc-status", "0"),))
MODAL: Final = b"modal-client/"  # a user agent that reads a status wherever it comes first
HEAD_OF_MODAL: Final = pack((*OPENING, ("grpc-status", "0")))
"""A frame less for every reply: a block of fields costs Modal's client 0.1 ms, and there are four replies to a call."""
PREFIX: Final = struct.Struct(">BI")  # of a message: whether it is compressed, and its length
PLAIN: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")  # what `grpc-message` may hold unescaped


class Surface:
    """The whole service for one kind of peer, answered from two tables."""

    def __init__(
        self, unary: Mapping[str, Unary], streaming: Mapping[str, Streaming], token_secret: str = ""
    ) -> None:
        """With a secret, requests must bring it."""
        self._secret = token_secret.encode()
        self._methods: dict[bytes, Answer] = {}
        for path, method in SERVICE.items():
            name = path.rpartition("/")[2]
            if name in unary:
                self._methods[path.encode()] = _unary(method, unary[name])
            elif name in streaming:
                self._methods[path.encode()] = _streaming(method, streaming[name])

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request, whatever comes of it."""
        try:
            await self._method(exchange)(exchange)
        except GRPCError as refusal:
            await _refuse(exchange, refusal)
        except Exception:  # a defect of a handler: who called it must not wait for ever
            log.exception("rpc_failed", method=_name(exchange))
            await _refuse(
                exchange, GRPCError(Status.UNKNOWN, f"a defect of firstlight's plane: {_name(exchange)}")
            )

    def _method(self, exchange: Exchange) -> Answer:
        if self._secret and not hmac.compare_digest(exchange.fields.get(TOKEN_FIELD, b""), self._secret):
            raise denied()
        method = self._methods.get(exchange.fields.get(b":path", b""))
        if method is None:
            raise unknown(_name(exchange))
        if exchange.too_large:
            raise exhausted(f"of a request than {MOST_BODY} bytes")
        return method


# ---------------------------------------------------------------- helpers


def _unary(method: Handler, handle: Unary) -> Answer:
    read = method.request_type.FromString

    async def answer(exchange: Exchange) -> None:
        reply = await handle(read(_message(exchange.body)))
        if exchange.fields.get(b"user-agent", b"").startswith(MODAL):
            await exchange.send(head=HEAD_OF_MODAL, data=_framed(reply), tail=None)
        else:
            await exchange.send(head=HEAD, data=_framed(reply), tail=TAIL)

    return answer


def _streaming(method: Handler, handle: Streaming) -> Answer:
    read = method.request_type.FromString

    async def answer(exchange: Exchange) -> None:
        head = HEAD
        async for reply in handle(read(_message(exchange.body))):
            await exchange.send(head=head, data=_framed(reply))
            head = b""
        await exchange.send(head=head, tail=TAIL)

    return answer


def _message(body: bytes) -> bytes:
    """The only message of a request."""
    if len(body) < PREFIX.size:
        raise malformed("a request without a message")
    compressed, size = PREFIX.unpack_from(body)
    if compressed:
        raise unknown("compression")
    if len(body) != PREFIX.size + size:
        raise malformed("a request of another length than it says")
    return body[PREFIX.size :]


def _framed(reply: Any) -> bytes:
    message: bytes = reply.SerializeToString()
    return PREFIX.pack(0, len(message)) + message


async def _refuse(exchange: Exchange, refusal: GRPCError) -> None:
    status = (
        ("grpc-status", str(refusal.status.value)),
        ("grpc-message", quote(refusal.message or "", PLAIN)),
    )
    await exchange.send(tail=pack(status if exchange.replied else OPENING + status))


def _name(exchange: Exchange) -> str:
    return exchange.fields.get(b":path", b"").rpartition(b"/")[2].decode(errors="replace")


def _service() -> Mapping[str, Handler]:
    """Paths, cardinalities and message types of every method, as the client's package ships them."""
    names = dict.fromkeys(api_grpc.ModalClientBase.__abstractmethods__)
    methods: Mapping[str, Handler] = type("Service", (api_grpc.ModalClientBase,), names)().__mapping__()
    return methods


SERVICE: Final = _service()  # the same for every container's server
