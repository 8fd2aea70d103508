"""The plane's HTTP side: an address on loopback for each served function, and one for blobs."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from aiohttp import web

from app.plane.functions import Function

log = structlog.get_logger(__name__)

LOOPBACK: Final = "127.0.0.1"
BODY_MOST: Final = 1 << 30  # bodies are streamed; the application behind has its own bound
CLOSE_S: Final = 1.0  # for requests in flight when the plane stops: their containers are gone

Place = tuple[str, str]  # an app's name and a function's
Serve = Callable[[Function, web.Request], Awaitable[web.StreamResponse]]


class Web:
    """Listeners, opened when a function is deployed and kept until the plane stops: an address stays the same."""

    def __init__(self, ports: Mapping[str, int], serve: Serve) -> None:
        """`ports` are wished for by function name: the first of a name has it, everybody else a free one."""
        self._ports, self._serve = dict(ports), serve
        self._runners: dict[Place, web.AppRunner] = {}
        self._functions: dict[Place, Function] = {}

    async def open(self, routes: list[web.RouteDef]) -> str:
        """Serve the plane's own routes, and give their base URL."""
        application = web.Application(client_max_size=BODY_MOST)
        application.add_routes(routes)
        return await self._listen(("", ""), application, 0)

    async def address(self, function: Function, app: str) -> str:
        """The URL of a function; the newest one of that name, of apps of that name, answers there."""
        place = (app, function.name)
        self._functions[place] = function
        if place in self._runners:
            return _url(self._runners[place])
        application = web.Application(client_max_size=BODY_MOST)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._serve(self._functions[place], request)

        application.router.add_route("*", "/{path:.*}", handle)
        return await self._listen(place, application, self._ports.pop(function.name, 0))

    async def close(self) -> None:
        """Serve nothing more."""
        for runner in self._runners.values():
            await runner.cleanup()

    async def _listen(self, place: Place, application: web.Application, port: int) -> str:
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=CLOSE_S
        )
        await runner.setup()
        self._runners[place] = runner
        await web.TCPSite(runner, LOOPBACK, port).start()
        return _url(runner)


def _url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
