"""`firstlight dev`: the service with a Telegram simulator in front and a console page, needing no account."""

import secrets
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from app.fleet import stats_of
from app.service import Service
from app.settings import DEFAULT_STORE, Secret, Settings, SettingsError, SqliteAddress
from app.telegram.simulator import TelegramSimulator
from app.web.console import add_console

DEV_STORE = SqliteAddress(Path("firstlight-dev.db"))
STATS_S = 2.0  # for the page, which asks again anyway


class Dev:
    """Runs the simulator, then the service against it."""

    def __init__(self, settings: Settings) -> None:
        # the console's users are made up, and a real bot's updates must never be worked here
        self._settings = msgspec.structs.replace(settings, allowed_users=None, store=_own_store(settings))
        self.simulator = TelegramSimulator()
        self.service: Service | None = None

    async def start(self) -> None:
        """Serve; raises OSError for a taken port."""
        api = await self.simulator.start()
        self.service = Service(simulated(self._settings, self.simulator, api), extend=self._console)
        try:
            await self.service.start()
        except BaseException:
            await self.stop()
            raise
        await point_webhook(self.simulator, api, self.service)

    async def stop(self) -> None:
        """End both; idempotent."""
        await self.simulator.stop()
        if self.service is not None:
            await self.service.stop()

    @property
    def url(self) -> str:
        """Where the console is."""
        assert self.service is not None, "started before"
        return self.service.url

    def _console(self, app: web.Application, service: Service) -> None:
        async def stats() -> dict[str, Any]:
            known = await stats_of(service.system.fleet.members, STATS_S)
            return {"actors": {name: msgspec.to_builtins(each) for name, each in known.items()}}

        add_console(app, self.simulator, stats=stats, restart=service.system.restart_cold)


def _own_store(settings: Settings) -> SqliteAddress:
    """A file of its own unless another one is named; raises SettingsError for a store that others share."""
    if not isinstance(settings.store, SqliteAddress):
        raise SettingsError(
            "FIRSTLIGHT_STORE", "is no file", "unset it: `dev` works on sqlite:///firstlight-dev.db"
        )
    return DEV_STORE if settings.store == DEFAULT_STORE else settings.store


def simulated(settings: Settings, simulator: TelegramSimulator, api_url: str) -> Settings:
    """The settings with the simulator in Telegram's place, on loopback only, and a secret of the moment."""
    return msgspec.structs.replace(
        settings,
        host="127.0.0.1",
        telegram_token=Secret(simulator.token),
        telegram_api_url=api_url,
        webhook_secret=settings.webhook_secret or Secret(secrets.token_urlsafe(24)),
    )


async def point_webhook(simulator: TelegramSimulator, api_url: str, service: Service) -> None:
    """Tell the simulated Telegram where to deliver, as `firstlight webhook set` tells the real one."""
    body = {
        "url": f"{service.url}/webhook/telegram",
        "secret_token": service.settings.require_webhook_secret().reveal(),
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{api_url}/bot{simulator.token}/setWebhook", json=body) as answer,
    ):
        answer.raise_for_status()
