"""The connection to Firestore: its own gRPC channel, which is replaced when it has stopped answering."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import google.auth
import grpc
import msgspec
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport
from google.oauth2 import service_account

from actors.stores import StoreDenied, StoreDown
from app.store.firestore_errors import NotOpen

Dial = Callable[[], grpc.aio.Channel]
Stream = Callable[..., grpc.aio.UnaryStreamCall[Any, Any]]

_SCOPES: Final = ("https://www.googleapis.com/auth/datastore",)
_SERVICE: Final = "/google.firestore.v1.Firestore"
_HOST: Final = "firestore.googleapis.com:443"
_FIND_CREDENTIALS_S: Final = 10.0  # off Google's cloud, asking its metadata server takes seconds
_DEADLINES_BEFORE_REPLACING: Final = 2  # one can be a slow call; two in a row lead nowhere

READ_AHEAD: Final = 16 * 1024 * 1024
"""Bytes that a server may send before it has to hear that they came in: an image of 10 MiB, and changes beside it."""

_OPTIONS: Final = (
    # Clients of a process share one connection by default: one that hangs would take all with it.
    ("grpc.use_local_subchannel_pool", 1),
    # The defaults grow to 120 s: after an outage of 92 s it took 12.7 s to come back. At most 1 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # How long one try to connect may take (20 s by default): TLS on a container short of CPU, not a black hole.
    ("grpc.min_reconnect_backoff_ms", 3000),
    # Finds a dead peer while calls wait; the interval is the one that Google's own client uses.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # A warm image is megabytes in one wave. gRPC's probe of the way begins with 4 MiB, whatever is asked for, and
    # narrows them where little was read before: a full image, the first thing read, took two round trips more.
    ("grpc.http2.lookahead_bytes", READ_AHEAD),
    ("grpc.http2.bdp_probe", 0),
    # Every retry is ours, so that every attempt is counted and bounded.
    ("grpc.enable_retries", 0),
    # Nothing asks a DNS TXT record how to balance: one look-up less on a cold start.
    ("grpc.service_config_disable_resolution", 1),
)


def dial_emulator(host: str) -> Dial:
    """Give what opens channels to an emulator at `host:port`."""
    return lambda: grpc.aio.insecure_channel(host, options=_OPTIONS)


async def dial_google(credentials_json: str | None) -> Dial:
    """Give what opens channels to Firestore, with a service account's JSON or the machine's own identity.

    Raises StoreDenied when there are no usable credentials, StoreDown when looking for them took too long.
    """
    try:
        async with asyncio.timeout(_FIND_CREDENTIALS_S):
            credentials = await asyncio.to_thread(_credentials, credentials_json)
    except TimeoutError as error:
        raise StoreDown("no Google credentials were found in time") from error
    except (GoogleAuthError, ValueError, msgspec.DecodeError) as error:
        # Without the cause: it can quote the key.
        raise StoreDenied(f"the Google credentials can't be used ({type(error).__name__})") from None
    return lambda: FirestoreGrpcAsyncIOTransport.create_channel(
        _HOST, credentials=credentials, scopes=_SCOPES, options=_OPTIONS
    )


def _credentials(credentials_json: str | None) -> Any:  # google.auth is not typed
    if credentials_json is None:
        return google.auth.default(scopes=_SCOPES)[0]
    of_account: Any = service_account.Credentials.from_service_account_info
    account = msgspec.json.decode(credentials_json, type=dict[str, Any])
    # A token signed here, instead of one fetched: one round trip less on a cold start.
    return of_account(account, scopes=_SCOPES).with_always_use_jwt_access(True)


class Connection:
    """The channel of one database, on the event loop that makes it.

    Each attempt takes a line and reports on it; two deadlines in a row on the current line replace it. The old
    channel lives for `linger_s` more seconds, so that calls on it meet their own deadlines.
    """

    def __init__(self, dial: Dial, linger_s: float) -> None:
        self._dial = dial
        self._linger_s = linger_s
        self._loop = asyncio.get_running_loop()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._line = Line(dial())
        self.replaced = 0

    def take(self) -> "Line":
        """Give the line for an attempt; raises NotOpen after `close`, StoreDenied on another loop."""
        if self._closed:
            raise NotOpen("the Firestore connection is closed")
        if self._loop is not asyncio.get_running_loop():
            raise StoreDenied("the Firestore connection belongs to another event loop")
        return self._line

    def answered(self, line: "Line") -> None:
        """The store said something on this line."""
        line.deadlines = 0

    def timed_out(self, line: "Line") -> None:
        """The store said nothing in time on this line."""
        line.deadlines += 1
        if line is self._line and line.deadlines >= _DEADLINES_BEFORE_REPLACING:
            self._replace()

    def _replace(self) -> None:
        old, self._line = self._line, Line(self._dial())
        self.replaced += 1
        task = asyncio.create_task(old.close(self._linger_s))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the transport and what is left of replaced ones."""
        self._closed = True
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._line.close(0.0)


class Line:
    """One channel and the three calls of Firestore's that we make on it; they raise gRPC's own errors.

    They take requests and give answers as plain protobuf, `commit` takes its request as bytes: the generated
    client's wrappers around each document cost more than reading it.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.deadlines = 0
        self.batch_get: Stream = channel.unary_stream(
            f"{_SERVICE}/BatchGetDocuments",
            request_serializer=types.BatchGetDocumentsRequest.pb().SerializeToString,
            response_deserializer=types.BatchGetDocumentsResponse.pb().FromString,
        )
        self.run_query: Stream = channel.unary_stream(
            f"{_SERVICE}/RunQuery",
            request_serializer=types.RunQueryRequest.pb().SerializeToString,
            response_deserializer=types.RunQueryResponse.pb().FromString,
        )
        self.commit: Callable[..., Awaitable[Any]] = channel.unary_unary(
            f"{_SERVICE}/Commit", response_deserializer=types.CommitResponse.pb().FromString
        )

    async def close(self, grace_s: float) -> None:
        """Close the channel; calls still running after `grace_s` are cancelled."""
        try:
            await asyncio.sleep(grace_s)
        finally:
            await self._channel.close()
