"""The webhook's web application in a Modal container, in front of actors in other ones."""

import asyncio
import threading
from collections.abc import Callable
from typing import Final

import modal
import structlog

from actors.ports import Unreachable
from app.placed import begin, told_in_one_line
from app.service import Gateway, web_parts
from app.settings import Settings
from app.sweeper import sweep
from app.transport.remote import RemoteFleet
from app.web.server import WebServer, create_app
from app.wiring import World

log = structlog.get_logger(__name__)

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - Modal's proxy reaches the container from outside
STOP_S: Final = 25  # seconds; running accepts end within 5, tickets under way within 10
SWEEP_S: Final = 45.0  # below the function's own timeout


class Front:
    """The web application with a Telegram client of its own."""

    def __init__(self, settings: Settings, fleet: RemoteFleet, port: int, *, lazy_warm: bool = False) -> None:
        """Raises SettingsError without a bot's token or a webhook secret."""
        self._gateway = Gateway(settings)
        parts = web_parts(settings, fleet, self._gateway, World(), lazy_warm=lazy_warm)
        self._server = WebServer(create_app(parts), ANY_ADDRESS, port)

    async def start(self) -> None:
        """Listen; who we are is learned and the actors are asked to warm beside the requests."""
        self._gateway.start()
        await self._server.start()

    async def stop(self) -> None:
        """Take nothing more in and finish what runs."""
        await self._server.stop()
        await self._gateway.stop()


class PlacedGateway:
    """What the Modal server inherits; the port is the one that Modal forwards to."""

    port: int
    _front: Front | None = None

    def fleet(self) -> RemoteFleet:
        """The references that it holds."""
        raise NotImplementedError

    @modal.enter()
    async def start(self) -> None:
        """Listen, look the actors up and have every one of them warm."""
        with told_in_one_line():
            settings, fleet = begin(serves=True), self.fleet()
            self._front = Front(settings, fleet, self.port)
        await self._front.start()
        await fleet.connect()
        await fleet.keep(settings.scaling.session_cache.min_containers)

    @modal.exit()
    async def stop(self) -> None:
        """Finish what runs."""
        if self._front is not None:
            await self._front.stop()


def serve_beside(fleet: Callable[[], RemoteFleet], port: int) -> None:
    """Serve in a thread with a loop of its own, and return: `modal.web_server` waits for the port itself.

    The thread ends with the container; what was accepted is durable.
    """
    with told_in_one_line():
        front = Front(begin(serves=True), fleet(), port, lazy_warm=True)
    threading.Thread(target=asyncio.run, args=(_forever(front),), name="web", daemon=True).start()


async def sweep_once(fleet: RemoteFleet) -> int:
    """Take up stranded turns, and say how many; a shard that is away is swept the next time."""
    with told_in_one_line():
        begin(serves=False)
    try:
        async with asyncio.timeout(SWEEP_S):
            return await sweep(fleet)
    except (Unreachable, TimeoutError) as away:
        log.warning("sweep_failed", error=str(away))
        return 0


async def _forever(front: Front) -> None:
    await front.start()
    await asyncio.Event().wait()
