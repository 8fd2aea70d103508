"""The webhook service in one process: the actors, a Telegram client of the gateway's own, and the web application."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web

from app.cold_start import ColdStart
from app.exiting import Exit
from app.fleet import stats_of
from app.gateway import Gateway, web_parts
from app.settings import Settings
from app.system import AFTER_TURNS_S, LocalSystem
from app.web.server import WebServer, create_app, listen
from contracts.warming import ActorStats

STATS_S: Final = 1.0  # they are in this process


class Service:
    """`serve`, and with `extend` also `dev`: from the settings to a socket that accepts updates."""

    def __init__(
        self,
        settings: Settings,
        extend: Callable[[web.Application, "Service"], None] | None = None,
        cold: ColdStart | None = None,
    ) -> None:
        self.settings, self._cold = settings, cold or ColdStart("serve")
        self.system = LocalSystem(settings, self._cold.first("first_reply"))
        self.gateway = Gateway(settings)
        self._extend = extend
        self._listener: socket.socket | None = None
        self._server: WebServer | None = None

    async def start(self) -> None:
        """Take the address, open the store, listen, then warm.

        Raises OSError for an address that can't be had, StoreDenied for a store that can't be used.
        """
        cold = self._cold
        self._listener = listen(self.settings.host, self.settings.port)
        await self.system.open()
        cold.ended("imports")
        self.gateway.start()
        app = create_app(
            web_parts(self.settings, self.system.fleet, self.gateway, self.system.world, cold=cold)
        )
        if self._extend is not None:
            self._extend(app, self)
        self._server = WebServer(app, self.settings.host, self.settings.port, listener=self._listener)
        await self._server.start()
        cold.ended("listen")
        await self.system.warm_up()
        cold.ended("warm")
        for stats in (await stats_of(self.system.fleet.members, STATS_S)).values():
            if isinstance(stats, ActorStats) and stats.warm is not None:
                cold.warmed(stats.warm)

    async def stop(self, leaving: Exit | None = None) -> None:
        """Take nothing more in, let turns end or hand them back, and close, all within the exit; idempotent."""
        leaving = leaving or Exit()
        await asyncio.gather(self._close_door(leaving), self.system.rest(leaving))
        await self.system.close(leaving)
        await self.gateway.stop()

    async def _close_door(self, leaving: Exit) -> None:
        """Requests under way end beside the turns, so that the two do not add up."""
        if self._server is not None:
            await leaving.step("requests", self._server.stop(), spare_s=AFTER_TURNS_S)
        if self._listener is not None:
            self._listener.close()

    @property
    def listening(self) -> bool:
        """Whether requests are answered."""
        return self._server is not None and self._server.listening

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None, "started before"
        host = self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._server.port}"
