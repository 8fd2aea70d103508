"""What the plane speaks with its peers: Modal's gRPC library and Google's understand it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import grpc
import grpc.aio
import grpclib.client
import modal
import pytest
from google.protobuf.empty_pb2 import Empty
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from modal_proto import api_grpc, api_pb2

from app.plane.errors import missing
from app.plane.fields import pack
from app.plane.frames import PREFACE, Flag, Frames, Kind, Setting, frame, number, settings
from app.plane.http2 import MOST_BODY
from app.plane.listening import Server
from app.plane.rpc import Surface

MIB = 1 << 20
SERVICE = "/modal.client.ModalClient/"
SECRET = "as-secret"
SMALL = Configuration(http2_connection_window_size=1 << 16, http2_stream_window_size=1 << 16)
TOKEN = {"x-modal-token-secret": SECRET}
Ask = Callable[[str, Any, Any], Awaitable[Any]]


class Handlers:
    """Some methods of Modal's, which do what a test needs."""

    def __init__(self) -> None:
        self.entered, self.cancelled = asyncio.Event(), asyncio.Event()

    async def echo(self, request: Any) -> Any:
        """BlobGet: what it was asked for, as an address."""
        return api_pb2.BlobGetResponse(download_url=request.blob_id)

    async def refuse(self, _: Any) -> Any:
        """AppStop."""
        raise missing("no app called ‘é%’")

    async def fail(self, _: Any) -> Any:
        """AppList."""
        raise KeyError("a defect")

    async def wait(self, _: Any) -> Any:
        """ClientHello: for ever."""
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def count(self, request: Any) -> AsyncIterator[Any]:
        """AppGetLogs."""
        for entry in range(int(request.last_entry_id)):
            yield api_pb2.TaskLogsBatch(entry_id=str(entry))
        if not request.last_entry_id.startswith("0"):
            return
        raise missing("it has no end")


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Handlers, int, Server]]:
    """A surface with those methods, and its port."""
    handlers, listening = Handlers(), socket.create_server(("127.0.0.1", 0))
    unary = {
        "BlobGet": handlers.echo,
        "AppStop": handlers.refuse,
        "AppList": handlers.fail,
        "ClientHello": handlers.wait,
    }
    server = Server(Surface(unary, {"AppGetLogs": handlers.count}, SECRET).answer)
    await server.listen(listening)
    try:
        yield handlers, listening.getsockname()[1], server
    finally:
        await server.close()


@asynccontextmanager
async def modals(port: int, config: Configuration | None = None) -> AsyncIterator[Any]:
    """The library of Modal's client."""
    channel = Channel("127.0.0.1", port, config=config)
    try:
        yield api_grpc.ModalClientStub(channel)
    finally:
        channel.close()


@pytest.fixture(params=["modal", "google"])
async def ask(request: pytest.FixtureRequest) -> AsyncIterator[Ask]:
    """A call of a method by its name, its request and the reply's type; refusals are (status, message)."""
    async with served() as (_, port, _):
        if request.param == "google":
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield _google(channel)
        else:
            async with modals(port) as stub:
                yield _grpclib(stub, TOKEN)


def test_the_library_is_modals_own() -> None:
    """Modal's client names itself in it, and the plane answers that name in fewer frames."""
    assert grpclib.client.USER_AGENT.startswith(f"modal-client/{modal.__version__} ")  # type: ignore[attr-defined]  # Modal sets it


@pytest.mark.parametrize("size", [0, 1, 16_384 - 20, 16_384, 100_000, 3 * MIB])
async def test_what_goes_in_comes_out(ask: Ask, size: int) -> None:
    """A message of any size, within a frame and over many."""
    sent = api_pb2.BlobGetRequest(blob_id="x" * size)
    assert sent.blob_id == (await ask("BlobGet", sent, api_pb2.BlobGetResponse)).download_url


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("AppStop", (Status.NOT_FOUND, "no app called ‘é%’")),
        ("QueueGet", (Status.UNIMPLEMENTED, "firstlight's plane does not know QueueGet")),
        ("OfTomorrow", (Status.UNIMPLEMENTED, "firstlight's plane does not know OfTomorrow")),
        ("AppList", (Status.UNKNOWN, "a defect of firstlight's plane: AppList")),
    ],
)
async def test_a_refusal_comes_with_its_status_and_its_words(ask: Ask, method: str, told: Any) -> None:
    """Also for a method that no client of today has, and for a handler that fails."""
    assert told == await ask(method, Empty(), Empty)


async def test_a_stream_ends_with_a_status_of_its_own() -> None:
    """Piece by piece, and a refusal after some pieces is one."""
    async with served() as (_, port, _), modals(port) as stub:
        several, refused = list[str](), list[str]()
        for entries, got in (("3", several), ("03", refused)):
            request = api_pb2.AppGetLogsRequest(last_entry_id=entries)
            with pytest.raises(GRPCError, match="no end") if got is refused else nullcontext():
                async with stub.AppGetLogs.open(metadata=TOKEN) as stream:
                    await stream.send_message(request, end=True)
                    async for batch in stream:
                        got.append(batch.entry_id)
        assert [["0", "1", "2"]] * 2 == [several, refused]


async def test_a_reply_is_sent_as_far_as_its_window_goes() -> None:
    """A peer that grants 64 KiB at a time gets all of 1 MiB, and another call's answer meanwhile."""
    async with served() as (_, port, _), modals(port, SMALL) as stub:
        ask = _grpclib(stub, TOKEN)
        sizes = [MIB, 10, MIB]
        sent = [api_pb2.BlobGetRequest(blob_id="x" * size) for size in sizes]
        replies = await asyncio.gather(*(ask("BlobGet", each, api_pb2.BlobGetResponse) for each in sent))
        assert sizes == [len(reply.download_url) for reply in replies]


async def test_a_stream_has_a_window_of_its_own_which_settings_change_while_it_is_open() -> None:
    """Ten bytes, then five that are granted to it, then the rest when every stream gets more."""
    block = pack([(":path", f"{SERVICE}BlobGet"), *TOKEN.items()])
    message = api_pb2.BlobGetRequest(blob_id="x" * 200).SerializeToString()
    asked = frame(Kind.HEADERS, Flag.END_HEADERS, 1, block)
    asked += frame(Kind.DATA, Flag.END_STREAM, 1, b"\0" + number(len(message)) + message)
    granted = (
        (PREFACE + _window(10) + asked, 10),
        (frame(Kind.WINDOW_UPDATE, 0, 1, number(5)), 15),
        (_window(10 + 1), 16),
        (_window(1 << 16), 5 + len(message)),
    )
    async with served() as (_, port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        cutter, got = replies(), list[bytes]()
        for grant, expected in granted:
            writer.write(grant)
            async with asyncio.timeout(5):
                while len(b"".join(got)) < expected:
                    frames = cutter.feed(await reader.read(1 << 16))
                    got += [payload for kind, _, _, payload in frames if kind == Kind.DATA]
            assert expected == len(b"".join(got))
        writer.close()


async def test_a_request_over_the_bound_is_refused() -> None:
    """And nothing of it is kept."""
    async with served() as (_, port, _), modals(port) as stub:
        large = api_pb2.BlobGetRequest(blob_id="x" * MOST_BODY)
        status, message = await _grpclib(stub, TOKEN)("BlobGet", large, api_pb2.BlobGetResponse)
        assert (Status.RESOURCE_EXHAUSTED, True) == (status, str(MOST_BODY) in message)


@pytest.mark.parametrize("given", [{}, {"x-modal-token-secret": "as-other"}])
async def test_without_the_token_nothing_is_answered(given: dict[str, str]) -> None:
    """Not even whether a method is known."""
    async with served() as (_, port, _), modals(port) as stub:
        status, _ = await _grpclib(stub, given)("QueueGet", Empty(), Empty)
        assert status is Status.UNAUTHENTICATED


async def test_a_call_that_nobody_waits_for_is_cancelled() -> None:
    """Its caller gave it up, or went away with its connection."""
    async with served() as (handlers, port, _), modals(port) as stub:
        for leave in (asyncio.Task.cancel, lambda _: stub.ClientHello.channel.close()):
            waiting = asyncio.create_task(stub.ClientHello(Empty(), metadata=TOKEN))
            await handlers.entered.wait()
            leave(waiting)
            async with asyncio.timeout(5):
                await handlers.cancelled.wait()
            await asyncio.gather(waiting, return_exceptions=True)
            handlers.entered.clear()
            handlers.cancelled.clear()


async def test_a_server_that_closes_tells_its_peers() -> None:
    """Who waits for an answer learns that none will come, and new calls are not taken."""
    async with served() as (handlers, port, server), modals(port) as stub:
        waiting = asyncio.create_task(stub.ClientHello(Empty(), metadata=TOKEN))
        await handlers.entered.wait()
        await server.close()
        assert handlers.cancelled.is_set()
        with pytest.raises(StreamTerminatedError):
            await waiting
        with pytest.raises(ConnectionRefusedError):
            await stub.ClientHello(Empty(), metadata=TOKEN)


# ---------------------------------------------------------------- helpers


def _grpclib(stub: Any, metadata: dict[str, str]) -> Ask:
    async def call(name: str, request: Any, reply: Any) -> Any:
        method = UnaryUnaryMethod(stub.ClientHello.channel, SERVICE + name, type(request), reply)
        try:
            return await method(request, metadata=metadata)
        except GRPCError as refusal:
            return refusal.status, refusal.message

    return call


def _google(channel: grpc.aio.Channel) -> Ask:
    async def call(name: str, request: Any, reply: Any) -> Any:
        method: Any = channel.unary_unary(SERVICE + name, type(request).SerializeToString, reply.FromString)
        try:
            return await method(request, metadata=tuple(TOKEN.items()))
        except grpc.aio.AioRpcError as refusal:
            return Status(refusal.code().value[0]), refusal.details()

    return call


def _window(size: int) -> bytes:
    return frame(Kind.SETTINGS, 0, 0, settings({Setting.INITIAL_WINDOW_SIZE: size}))


def replies() -> Frames:
    """Cuts what a server sends, which has no preface."""
    cutter = Frames()
    list(cutter.feed(PREFACE))
    return cutter
