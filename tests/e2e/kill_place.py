"""Where a service runs that is killed and started again."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from app.chaos.siege.printed import leases_in
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_delivery import Outcome
from app.telegram.simulator_methods import Webhook
from app.telegram.simulator_webhook import webhook_delivery
from tests.commands import free_port
from tests.e2e.conftest import Environ
from tests.e2e.kit import READY_S, SECRET, Served, spawn


@dataclass
class Place:
    """Where one service runs; what dies here is started again."""

    telegram: TelegramSimulator
    environ: Environ
    log: Path
    http: aiohttp.ClientSession
    port: int = 0
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start a service on the place's port."""
        self.port = self.port or free_port()
        self.process = await self._spawn(self.port)

    async def ready(self) -> None:
        """Wait until it has warmed."""
        assert self.process is not None
        await Served(self.port, self.process, self.http).ready()

    async def listening(self) -> None:
        """Wait until it takes connections, which is before it is warm."""
        async with asyncio.timeout(READY_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.002)  # it starts
                else:
                    writer.close()
                    return

    async def kill(self) -> None:
        """kill -9, and see that it is dead."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def printed(self) -> str:
        """All that was told to the log here."""
        return self.log.read_text("utf-8")

    def leases_of_the_dead(self) -> set[str]:
        """The leases under which whoever was killed here last has worked, by what he told his log."""
        return leases_in(self.printed().splitlines())

    async def end(self) -> int:
        """SIGTERM, and wait; gives the exit code."""
        assert self.process is not None
        return await Served(self.port, self.process, self.http).end()

    async def roll(self) -> int:
        """Have a successor take over, then end the old one by SIGTERM; gives the old one's exit code."""
        assert self.process is not None
        old, port = Served(self.port, self.process, self.http), free_port()
        successor = await self._spawn(port)
        try:
            await Served(port, successor, self.http).ready()
        except BaseException:
            successor.kill()
            raise
        self.port, self.process = port, successor
        try:
            return await old.end()
        except BaseException:
            old.kill()
            raise

    async def deliver(self, body: bytes) -> Outcome:
        """Post an update to this place, as Telegram does."""
        url = f"http://127.0.0.1:{self.port}/webhook/telegram"
        return await webhook_delivery(self.http, Webhook(url=url, secret_token=SECRET))(body)

    async def _spawn(self, port: int) -> asyncio.subprocess.Process:
        environ = dict(self.environ) | {"FIRSTLIGHT_LOG_LEVEL": "debug"}
        return await spawn(self.telegram, self.telegram.url, environ, port, self.log)
