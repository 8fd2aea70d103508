"""The reverse proxy in front of `@app.server`: no queue and no retries, as on Modal."""

from collections.abc import Callable
from typing import Final

import aiohttp
import structlog
from aiohttp import web
from yarl import URL

from app.plane.containers import Container
from app.plane.functions import Function
from app.plane.pools import Pool

log = structlog.get_logger(__name__)

CONNECT_S: Final = 5.0  # a ready container listens on this machine
MOST_CONNECTIONS: Final = 1_000
RETRY_AFTER_S: Final = "1"  # a container starts in about that
PIECE: Final = 1 << 16
PER_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)

REPLACED: Final = PER_HOP | {"x-forwarded-for"}
NOT_ASKED_FOR: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What aiohttp adds by itself: who did not ask for a compressed answer can't read one."""


class Proxy:
    """Sends requests to the containers of a server's pool."""

    def __init__(self, pool_of: Callable[[Function], Pool | None], request_s: float) -> None:
        self._pool_of, self._request_s = pool_of, request_s
        self._client: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the client side."""
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=self._request_s, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close it."""
        if self._client is not None:
            await self._client.close()

    async def serve(self, function: Function, request: web.Request) -> web.StreamResponse:
        """Answer one request: by a container, or with why there is none."""
        if not function.live.is_server:
            return _told(501, f"firstlight's plane does not know web functions, and {function.name} is one")
        if request.headers.get("Upgrade"):
            return _told(501, "firstlight's plane does not know WebSocket")
        pool = self._pool_of(function)
        container = pool.pick() if pool is not None else None
        if container is None:
            return _told(503, f"no container of {function.name} is ready", {"Retry-After": RETRY_AFTER_S})
        container.requests += 1
        try:
            return await self._forward(container, request)
        finally:
            container.requests -= 1
            container.touch()

    async def _forward(self, container: Container, request: web.Request) -> web.StreamResponse:
        assert self._client is not None
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in REPLACED]
        headers.append(("X-Forwarded-For", request.remote or ""))
        url = URL(f"http://127.0.0.1:{container.port}{request.raw_path}", encoded=True)
        try:
            async with self._client.request(
                request.method,
                url,
                data=request.content if request.can_read_body else None,
                headers=headers,
                skip_auto_headers=NOT_ASKED_FOR,
                allow_redirects=False,
            ) as answer:
                return await _answer(request, answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("request_failed", container=container.id, error=f"{type(error).__name__}: {error}")
            return _told(502, f"{container.id} gave no answer: {type(error).__name__}")


# ---------------------------------------------------------------- helpers


async def _answer(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in PER_HOP:
            response.headers.add(name, value)
    await response.prepare(request)
    async for piece in answer.content.iter_chunked(PIECE):
        await response.write(piece)
    await response.write_eof()
    return response


def _told(status: int, why: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{why}\n", headers=headers)
