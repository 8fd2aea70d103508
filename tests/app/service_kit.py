"""A whole service in this process, in front of it a simulated Telegram, on an empty SQLite file."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from app.dev import point_webhook, simulated
from app.service import Service
from app.settings import Secret, Settings, SqliteAddress
from app.telegram.simulator import TelegramSimulator

REPLY_S = 20.0
ADMIN = "kit-admin-token"


def settings(folder: Path, **changes: Any) -> Settings:
    """Settings of a service on loopback, on any free port, its store in the folder."""
    base = Settings(store=SqliteAddress(folder / "kit.db"), port=0, admin_token=Secret(ADMIN))
    return msgspec.structs.replace(base, **changes)


@asynccontextmanager
async def serving(telegram: TelegramSimulator, chosen: Settings) -> AsyncIterator[Service]:
    """Run the service until the block ends, with Telegram delivering to it."""
    service = Service(simulated(chosen, telegram, telegram.url))
    await service.start()
    try:
        await point_webhook(telegram, telegram.url, service)
        yield service
    finally:
        await service.stop()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file as another process would that writes and does not end."""
    with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
