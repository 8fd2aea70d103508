"""The webhook's web application with a Telegram client of its own, in front of actors in other containers."""

from typing import Final

from app.service import Gateway, web_parts
from app.settings import Settings
from app.transport.remote import RemoteFleet
from app.web.server import WebServer, create_app
from app.wiring import World

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - Modal's proxy reaches the container from outside
TICKETS_S: Final = 10.0  # calls that hand tickets over; Modal grants 25 s in all


class Front:
    """What a gateway's container holds."""

    def __init__(self, settings: Settings, fleet: RemoteFleet, port: int, *, lazy_warm: bool = False) -> None:
        """Raises SettingsError without a bot's token or a webhook secret."""
        self._gateway, self._world = Gateway(settings), World()
        parts = web_parts(settings, fleet, self._gateway, self._world, lazy_warm=lazy_warm)
        self._server = WebServer(create_app(parts), ANY_ADDRESS, port)

    async def start(self) -> None:
        """Listen; who we are is learned, and the actors are asked to warm, beside the requests."""
        self._gateway.start()
        await self._server.start()

    async def stop(self) -> None:
        """Take nothing more in and finish what runs."""
        await self._server.stop()
        await self._world.background.drain(TICKETS_S)
        await self._gateway.stop()
