"""Writes to the bot through its webhook, as Telegram would."""

import time
from typing import Any, Final

import aiohttp

SECRET_HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name
POST_S: Final = 30.0  # a webhook answers within ms; one whose container starts cold, within seconds
FIRST_ID: Final = (
    1_000_000_000_000  # far above any id that Telegram gives, so that no real update is taken for ours
)


class Webhook:
    """The webhook's address with its secret."""

    def __init__(self, http: aiohttp.ClientSession, url: str, secret: str) -> None:
        self._http, self._url, self._secret = http, url, secret

    async def post(self, update: dict[str, Any], secret: str | None = None) -> int:
        """Deliver an update, and give the status; raises aiohttp.ClientError, TimeoutError."""
        headers = {SECRET_HEADER: self._secret if secret is None else secret}
        timeout = aiohttp.ClientTimeout(total=POST_S)
        async with self._http.post(self._url, json=update, headers=headers, timeout=timeout) as answer:
            return answer.status

    async def get(self, path: str) -> int:
        """The status of one of the service's own pages."""
        url = self._url.removesuffix("/webhook/telegram") + path
        async with self._http.get(url, timeout=aiohttp.ClientTimeout(total=POST_S)) as answer:
            return answer.status


def message(chat: int, text: str) -> dict[str, Any]:
    """An update that Telegram never sent: a message in a private chat (Bot API, Update)."""
    now = time.time()
    written = {
        "message_id": 1,
        "date": int(now),
        "chat": {"id": chat, "type": "private", "first_name": "Smoke"},
        "from": {"id": chat, "is_bot": False, "first_name": "Smoke"},
        "text": text,
    }
    return {"update_id": FIRST_ID + int(now * 1000), "message": written}
