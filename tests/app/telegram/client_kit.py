"""A client of the Bot API with a token that must never be seen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.telegram.client import Deadlines, TelegramClient
from tests.app.telegram.scripted_api import ok

TOKEN = "42:CANARY-token-that-must-never-be-seen"
SHORT = Deadlines(connect_s=0.05, call_s=0.05, probe_s=0.05, typing_s=0.05)
SENT = ok({"message_id": 9})


@asynccontextmanager
async def client_of(url: str, deadlines: Deadlines | None = None) -> AsyncIterator[TelegramClient]:
    """Make a client of the test's bot, and close it at the end."""
    client = TelegramClient(TOKEN, url, deadlines)
    try:
        yield client
    finally:
        await client.close()
