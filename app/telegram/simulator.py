"""A Telegram on this machine: an honest Bot API server in memory, and the people who talk to its bot.

Private chats, groups, topics, captions, edits, buttons, blocked bots, updates redelivered by Telegram's rules,
and faults on demand. Not simulated: parse_mode, media files, flood limits (script a 429), answers inside the
webhook's response. Serves loopback only.
"""

from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from actors.ports import Chance, Clock
from app.telegram.simulator_checks import LOOPBACK
from app.telegram.simulator_delivery import Deliver
from app.telegram.simulator_methods import Webhook
from app.telegram.simulator_people import People
from app.telegram.simulator_ports import ScaledClock, SeededChance
from app.telegram.simulator_server import BotApiServer
from app.telegram.simulator_webhook import webhook_delivery
from app.telegram.simulator_world import Json

DEFAULT_TOKEN = "1000000001:simulated-token"  # noqa: S105 - opens nothing but the simulator


class TelegramSimulator(People):
    """People and their bot behind a server: `async with TelegramSimulator() as telegram:` runs it."""

    def __init__(
        self,
        *,
        token: str = DEFAULT_TOKEN,
        username: str = "firstlight_bot",
        clock: Clock | None = None,
        chance: Chance | None = None,
        first_update_id: int | None = None,
        max_chats: int = 10_000,
        max_messages: int = 1_000,
    ) -> None:
        clock = clock or ScaledClock()
        # ids that go on growing over restarts, as Telegram's do: stores remember what they have seen
        first = int(clock.unix_s()) if first_update_id is None else first_update_id
        super().__init__(
            _bot(token, username),
            self._delivery,
            clock,
            chance or SeededChance(first),
            first_update_id=first,
            max_chats=max_chats,
            max_messages=max_messages,
        )
        self.token = token
        self.server = BotApiServer(token, self.api, self.faults, clock)
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None
        self._url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve, and give the base URL (what `TELEGRAM_API_URL` takes); raises ValueError off loopback."""
        if host not in LOOPBACK:
            raise ValueError("the simulator serves loopback addresses only")
        self._http = self._http or aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None),  # the queue gives up by its own clock
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._runner = web.AppRunner(
            self.server.application(), access_log=None, handler_cancellation=True, shutdown_timeout=1.0
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound: int = self._runner.addresses[0][1]
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        return self._url

    async def stop(self) -> None:
        """Stop serving and delivering; chats stay readable. Idempotent."""
        await self.updates.disconnect()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._http is not None:
            await self._http.close()
        self._runner = self._http = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL, empty before `start`."""
        return self._url

    def _delivery(self, webhook: Webhook) -> Deliver:
        if self._http is None:
            raise RuntimeError("start() the simulator first")
        return webhook_delivery(self._http, webhook)


def _bot(token: str, username: str) -> Json:
    return {"id": int(token.split(":")[0]), "is_bot": True, "first_name": "Firstlight", "username": username}
