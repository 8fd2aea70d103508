"""What every route shares: comparing secrets, answering in JSON, refusing without reading on."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import msgspec
import structlog
from aiohttp import StreamReader, web

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LINGER_S: Final = 0.5  # a client that still writes gets to see our answer instead of a reset,
LINGER_BYTES: Final = 256 * 1024  # but we do not listen to it for longer or for more than this
GONE: Final = (OSError, web.RequestPayloadError)
"""What reading a body raises when the client has gone or speaks no HTTP."""


def is_secret(request: web.Request, header: str, expected: bytes) -> bool:
    """Whether the header is there exactly once and holds these bytes, compared in constant time."""
    given = request.headers.getall(header, ())
    if len(given) != 1:
        return False
    return hmac.compare_digest(given[0].encode("utf-8", "surrogateescape"), expected)


def as_json(value: object, status: int = 200) -> web.Response:
    """The value as a JSON document."""
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def error(status: int, text: str) -> web.Response:
    """`{"error": text}`."""
    return as_json({"error": text}, status)


async def refuse(request: web.Request, status: int, retry_after_s: int = 0) -> web.StreamResponse:
    """Answer without the rest of the body: the answer goes out first, then the connection closes."""
    response = web.Response(
        status=status, headers={"Retry-After": str(retry_after_s)} if retry_after_s else None
    )
    if request.content.is_eof():
        return response
    response.force_close()
    with suppress(TimeoutError, *GONE):  # the client has its answer, or has gone
        async with asyncio.timeout(LINGER_S):
            await response.prepare(request)
            await response.write_eof()
            await _discard(request.content, LINGER_BYTES)
    return response


def plainly(handler: Handler) -> Handler:
    """The handler, its defects logged here and told to the client in one word: no traceback, no HTML."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as known:
            return error(known.status, known.reason)
        except Exception:  # the stated outcome of a defect: logged whole, answered with one word
            log.exception("web_defect", path=request.path)
            return error(500, "internal")

    return answer


async def _discard(content: StreamReader, most: int) -> None:
    while most > 0 and (chunk := await content.readany()):
        most -= len(chunk)
