"""One HTTP request to the Bot API: bounded in time and bytes, and honest about whether it was written."""

from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from actors.ports import MaybeSent, NotSent
from app.telegram.answers import Reply

_CONNECTIONS: Final = 100  # as many as inputs run at once in a container, so that no turn waits for another
_KEEPALIVE_S: Final = 30.0  # below what servers keep, so that no request is written into a closing connection


class Exchange:
    """Posts JSON to the methods of one bot. Belongs to the event loop of its first `post`."""

    def __init__(self, base_url: str, token: str, connect_s: float) -> None:
        """Raises ValueError for a URL without scheme or host, and does not repeat it."""
        self._root = _root(base_url) / f"bot{token}"
        self._connect_s = connect_s
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, method: str, body: bytes, budget_s: float, limit: int
    ) -> Reply | NotSent | MaybeSent:
        """Give the reply, or the error to raise once outside of the `except` that holds the URL and its token.

        `budget_s` bounds all of it, `limit` the reply's bytes.
        """
        flight = _Flight()
        timeout = aiohttp.ClientTimeout(total=budget_s, connect=self._connect_s)
        try:
            async with self._open().post(
                self._root / method,
                data=body,
                timeout=timeout,
                allow_redirects=False,  # the Bot API has none; another host must not see the token
                trace_request_ctx=flight,
            ) as response:
                flight.reply = Reply(response.status, retry_after_s=_retry_after(response))
                content = await _read_up_to(limit, response)
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            return flight.reply or flight.failure(method, error)
        return msgspec.structs.replace(flight.reply, body=content)

    async def close(self) -> None:
        """Give connections back; idempotent, and a later `post` opens anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _new_session()
        return self._session


class _Flight:
    """How far a request got. aiohttp's errors do not say; its trace does."""

    def __init__(self) -> None:
        self.written = False
        self.reply: Reply | None = None

    def failure(self, method: str, error: Exception) -> NotSent | MaybeSent:
        """Name the error's class only, because its text may contain the URL."""
        name = type(error).__name__
        if self.written:
            return MaybeSent(f"{method}: {name} after the request was written")
        return NotSent(f"{method}: {name} before the request was written")


async def _mark_written(_session: aiohttp.ClientSession, context: Any, _headers: object) -> None:
    """Runs when aiohttp has a connection and is about to write to it: from here on bytes may have left."""
    context.trace_request_ctx.written = True


def _new_session() -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_mark_written)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEPALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json"},
        trace_configs=[trace],
    )


def _root(base_url: str) -> URL:
    url = URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the Bot API's URL must be http(s)://host[:port][/path]")
    return url


def _retry_after(response: aiohttp.ClientResponse) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


async def _read_up_to(limit: int, response: aiohttp.ClientResponse) -> bytes:
    """Give the body, or nothing when it is longer than `limit` bytes: then it is no answer of the Bot API."""
    content = bytearray()
    async for part in response.content.iter_any():
        content += part
        if len(content) > limit:
            return b""
    return bytes(content)
