"""What the Modal server and the web function consist of: a web application."""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import modal
import structlog

from app.cold_start import ColdStart
from app.fleet import GATEWAY
from app.lazily import load
from app.placed import begin, told_in_one_line
from app.runtime import settle_memory
from app.settings import Settings
from app.transport.remote import RemoteFleet

if TYPE_CHECKING:
    from app.front import Front

log = structlog.get_logger(__name__)

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - Modal's proxy reaches the container from outside
GRACE_S: Final = 25  # running accepts end within 5 s, tickets under way within 10


class PlacedGateway:
    """What the Modal server inherits: a web application on the port that Modal forwards to."""

    port: int
    host: str = ANY_ADDRESS
    _front: "Front | None" = None
    _cold: ColdStart

    def fleet(self) -> RemoteFleet:
        """The references that it holds."""
        raise NotImplementedError

    @modal.enter()
    async def start(self) -> None:
        """Look the actors up, have every one of them warm, then listen: no update finds one cold."""
        self._cold = cold = ColdStart(GATEWAY)
        with told_in_one_line():
            settings, fleet = begin(serves=True), self.fleet()
            self._front = front = _front(settings, fleet, self.port, host=self.host, cold=cold)
        cold.ended("imports")
        await fleet.connect()
        await front.warm()
        cold.ended("warm")
        await front.start()
        cold.ended("listen")
        settle_memory()
        cold.ready()
        await fleet.keep(settings.scaling.session_cache.min_containers)

    @modal.exit()
    async def stop(self) -> None:
        """Finish what runs."""
        if self._front is not None:
            self._cold.tell()
            await self._front.stop()


def serve_beside(fleet: Callable[[], RemoteFleet], port: int) -> None:
    """Serve in a thread with a loop of its own, and return: `modal.web_server` waits for the port itself.

    The thread ends with the container; what was accepted is durable.
    """
    with told_in_one_line():
        actors = fleet()
        front = _front(begin(serves=True), actors, port, lazy_warm=True)
    threading.Thread(target=asyncio.run, args=(_forever(front, actors),), name="web", daemon=True).start()


# ---------------------------------------------------------------- helpers


def _front(
    settings: Settings,
    fleet: RemoteFleet,
    port: int,
    *,
    host: str = ANY_ADDRESS,
    cold: ColdStart | None = None,
    lazy_warm: bool = False,
) -> "Front":
    """The web application; its libraries are imported here, and only where it is served."""
    front: Front = load("app.front:Front")(settings, fleet, port, host=host, cold=cold, lazy_warm=lazy_warm)
    return front


async def _forever(front: "Front", fleet: RemoteFleet) -> None:
    await fleet.connect()
    await front.start()
    await asyncio.Event().wait()
