"""A real `firstlight serve` in a process of its own, in front of it the simulated Telegram of this process."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from actors.meter import Meter
from actors.stores import SessionStore
from app.settings import load
from app.store.database import choose
from app.telegram.simulator import TelegramSimulator

SECRET = "e2e-webhook-secret"
ADMIN = "e2e-admin-token"
ENDED_S = 60.0  # a lease of 15 s may have to run out first
READY_S = 30.0  # a cold process imports everything; a busy machine takes seconds


class Served:
    """A running service: its address, and what an operator may ask of it."""

    def __init__(self, port: int, process: asyncio.subprocess.Process, http: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = process
        self._http = http

    async def ready(self) -> None:
        """Wait until the first warm has ended."""
        async with asyncio.timeout(READY_S):
            while not await self._is_ready():
                assert self.process.returncode is None, "the service ended while starting"
                await asyncio.sleep(0.02)

    async def _is_ready(self) -> bool:
        try:
            async with self._http.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def stats(self) -> dict[str, Any]:
        """What `GET /admin/stats` gives, by actor."""
        async with self._http.get(f"{self.url}/admin/stats", headers=_bearer()) as answer:
            assert answer.status == 200
            document: dict[str, Any] = await answer.json()
            return dict(document["actors"])

    async def warm(self, **wish: Any) -> list[dict[str, Any]]:
        """What `POST /admin/warm` gives."""
        async with self._http.post(f"{self.url}/admin/warm", json=wish, headers=_bearer()) as answer:
            assert answer.status == 200
            document: dict[str, Any] = await answer.json()
            return list(document["reports"])

    async def post(self, body: bytes, secret: str = SECRET) -> int:
        """Deliver a body as Telegram would; gives the status."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret, "Content-Type": "application/json"}
        async with self._http.post(f"{self.url}/webhook/telegram", data=body, headers=headers) as answer:
            return answer.status

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()

    async def end(self) -> int:
        """SIGTERM, and wait; gives the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(READY_S):
            return await self.process.wait()


async def spawn(
    telegram: TelegramSimulator, api: str, environ: Mapping[str, str], port: int, log: Path
) -> asyncio.subprocess.Process:
    """Start `firstlight serve`, its output appended to a file; who starts it ends it."""
    with log.open("ab") as sink:
        return await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("firstlight")),
            "serve",
            "--port",
            str(port),
            env=_clean() | _environ(telegram, api) | dict(environ),
            stderr=sink,
            stdout=sink,
        )


@asynccontextmanager
async def serving(
    telegram: TelegramSimulator, api: str, environ: Mapping[str, str], port: int, log: Path
) -> AsyncIterator[Served]:
    """Run `firstlight serve` until the block ends, its log in a file; ready when the block begins."""
    process = await spawn(telegram, api, environ, port, log)
    async with aiohttp.ClientSession() as http:
        served = Served(port, process, http)
        try:
            await served.ready()
            yield served
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def point(telegram: TelegramSimulator, api: str, port: int) -> None:
    """Tell the simulated Telegram where to deliver."""
    body = {"url": f"http://127.0.0.1:{port}/webhook/telegram", "secret_token": SECRET}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{api}/bot{telegram.token}/setWebhook", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def ended(store: Mapping[str, str]) -> int:
    """Wait until no update is without an end, looking into the store itself; gives how many ended as unknown."""
    database = choose(load(store))
    await database.open()
    sessions = database.sessions(Meter())
    try:
        async with asyncio.timeout(ENDED_S):
            await _until_none(sessions)
        return len(await sessions.find_updates(("unknown",), 100))
    finally:
        await sessions.close()


async def _until_none(sessions: SessionStore) -> None:
    """Another process ends them, so all that can be done here is to look again."""
    while True:
        if not await sessions.find_updates(("accepted", "committed"), 100):
            return
        await asyncio.sleep(0.2)


def _environ(telegram: TelegramSimulator, api: str) -> dict[str, str]:
    return {
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_URL": api,
        "FIRSTLIGHT_ADMIN_TOKEN": ADMIN,
    }


def _clean() -> dict[str, str]:
    """This process's environment without settings of ours."""
    ours = ("FIRSTLIGHT_", "TELEGRAM_", "ANTHROPIC_", "FIRESTORE_", "COV_CORE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {ADMIN}"}
