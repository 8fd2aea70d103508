"""Updates pass the router by, and nobody can tell by the answers."""

import pytest
import yarl
from aiohttp import web

from app.web.answers import Handler
from app.web.server import WEBHOOK as HELD
from app.web.server import WebServer
from app.web.webhook import SECRET_HEADER
from tests.app.web.web_kit import SECRET, WEBHOOK, Service, message, service

HEADERS = {SECRET_HEADER: SECRET}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", WEBHOOK, 200),
        ("POST", f"{WEBHOOK}?x=1", 200),
        ("POST", WEBHOOK.replace("w", "%77"), 200),
        ("POST", f"{WEBHOOK}/", 404),
        ("GET", WEBHOOK, 405),
    ],
)
async def test_every_spelling_is_answered(method: str, path: str, expected: int) -> None:
    """What is not spelled plainly takes the way through the router, and fares as it did without a shortcut."""
    async with service() as running:
        url = yarl.URL(running.url + path, encoded=True)
        async with running.http.request(method, url, json=message(), headers=HEADERS) as response:
            assert response.status == expected
        assert len(running.accepted) == (expected == 200)


async def test_the_plain_way_does_not_meet_the_router() -> None:
    """An application that holds the webhook and has no route to it takes updates all the same."""
    async with service() as running:
        assert await posted(running, web.Application()) == 200
        assert len(running.accepted) == 1


async def test_a_client_that_waits_to_go_on_is_told_so() -> None:
    """`Expect: 100-continue` is answered by the application, which then takes the update."""
    async with service() as running:
        async with running.http.post(
            running.url + WEBHOOK, json=message(), headers=HEADERS, expect100=True
        ) as response:
            assert response.status == 200
        assert len(running.accepted) == 1


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ({SECRET_HEADER: "guessed"}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Length": str(2 * 1024 * 1024)}, 413),
        ({"Expect": "a wonder"}, 417),
    ],
    ids=["a stranger", "no JSON", "too large", "another wish"],
)
async def test_who_is_refused_is_not_told_to_go_on(head: dict[str, str], status: int) -> None:
    """A client that waits to send its body gets its refusal instead, and nothing before it."""
    plain = {"Content-Type": "application/json", "Content-Length": "10", "Expect": "100-continue"}
    fields = "".join(f"{name}: {value}\r\n" for name, value in (HEADERS | plain | head).items())
    async with service() as running, running.socket() as (reader, writer):
        writer.write(f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
        assert int((await reader.readline()).split()[1]) == status
        assert running.accepted == []
        outcome = "unauthorized" if status == 401 else "rejected"
        assert running.counted("unread", outcome) == 1


async def test_a_middleware_sees_updates_too() -> None:
    """Who wraps all requests is not bypassed."""
    seen: list[str] = []

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        seen.append(request.path)
        return await handler(request)

    async with service() as running:
        app = web.Application(middlewares=[note])
        app.router.add_post(WEBHOOK, running.app[HELD].handle)
        assert await posted(running, app) == 200
    assert seen == [WEBHOOK]


async def posted(running: Service, app: web.Application) -> int:
    """The status of an update's answer by another application that holds the service's webhook."""
    app[HELD] = running.app[HELD]
    server = WebServer(app, "127.0.0.1", 0)
    await server.start()
    url = f"http://127.0.0.1:{server.port}{WEBHOOK}"
    async with running.http.post(url, json=message(), headers=HEADERS) as response:
        status = response.status
    await server.stop()
    return status
