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

Serve = Callable[[Function, web.Request], Awaitable[web.StreamResponse]]


class Web:
    """Listeners, opened when a function is deployed and kept until the plane stops: an address stays the same."""

    def __init__(self, ports: Mapping[str, int], serve: Serve) -> None:
        """`ports` are wished for by function name; what is not named gets a free one."""
        self._ports, self._serve = ports, serve
        self._runners: dict[str, web.AppRunner] = {}
        self._functions: dict[str, Function] = {}

    async def open(self, routes: list[web.RouteDef]) -> str:
        """Serve the plane's own routes, and give their base URL."""
        application = web.Application(client_max_size=BODY_MOST)
        application.add_routes(routes)
        return await self._listen("", application, 0)

    async def address(self, function: Function) -> str:
        """The URL of a function; the newest function of a name answers there."""
        self._functions[function.name] = function
        if function.name in self._runners:
            return _url(self._runners[function.name])
        application = web.Application(client_max_size=BODY_MOST)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._serve(self._functions[function.name], request)

        application.router.add_route("*", "/{path:.*}", handle)
        return await self._listen(function.name, application, self._ports.get(function.name, 0))

    async def close(self) -> None:
        """Serve nothing more."""
        for runner in self._runners.values():
            await runner.cleanup()

    async def _listen(self, name: str, application: web.Application, port: int) -> str:
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=CLOSE_S
        )
        await runner.setup()
        self._runners[name] = runner
        await web.TCPSite(runner, LOOPBACK, port).start()
        return _url(runner)


def _url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
