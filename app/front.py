"""The webhook's web application with a Telegram client of its own, in front of actors in other containers."""

from typing import Final

from app.cold_start import ColdStart
from app.gateway import Gateway, web_parts
from app.runtime import World
from app.settings import Settings
from app.transport.remote import RemoteFleet
from app.web.server import FIRST_WARM, WebServer, create_app

TICKETS_S: Final = 10.0  # calls that hand tickets over; Modal grants 25 s in all
WARM_S: Final = (
    15.0  # actors end their own warming within 5 s; an update that waits longer does so at Telegram
)


class Front:
    """What a gateway's container holds."""

    def __init__(
        self,
        settings: Settings,
        fleet: RemoteFleet,
        port: int,
        *,
        host: str,
        cold: ColdStart | None = None,
        lazy_warm: bool = False,
    ) -> None:
        """Raises SettingsError without a bot's token or a webhook secret."""
        self._gateway, self._world = Gateway(settings), World()
        self._app = create_app(
            web_parts(
                settings,
                fleet,
                self._gateway,
                self._world,
                cold=cold,
                lazy_warm=lazy_warm,
                warm_deadline_s=WARM_S,
            )
        )
        self._server = WebServer(self._app, host, port)

    async def warm(self) -> None:
        """Have every actor warm, once, or meet the deadline; who we are is learned beside it."""
        self._gateway.start()
        await self._app[FIRST_WARM].run()

    async def start(self) -> None:
        """Listen; what `warm` did not do yet is done beside the requests."""
        self._gateway.start()
        await self._server.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    async def stop(self) -> None:
        """Take nothing more in and finish what runs."""
        await self._server.stop()
        await self._world.background.drain(TICKETS_S)
        await self._gateway.stop()
