"""Asks Telegram what it says of the webhook and of the token; its trouble is the doctor's finding."""

import asyncio
from typing import Final, Protocol

from actors.ports import TelegramError, TokenRefused
from app.telegram.methods import WebhookInfo
from contracts.base import Value

TELEGRAM_S: Final = 5.0  # a Telegram that is away is no reason to wait
RECENT_S: Final = 3600.0  # Telegram keeps a webhook's last error for ever, and tries again within this


class WebhookState(Value, frozen=True, kw_only=True):
    """What Telegram says of the webhook; `problem` is one line, empty when all is well. No `url`: polled for.

    `unasked` is why Telegram could not be asked: that says nothing of the store, and is no finding.
    """

    url: str = ""
    pending: int = 0
    last_error: str = ""
    last_error_age_s: float = 0.0
    problem: str = ""
    unasked: str = ""


class Webhooks(Protocol):
    """What the doctor asks of Telegram."""

    async def get_webhook_info(self) -> WebhookInfo:
        """Tell what is set, what waits and what failed last; raises TelegramError."""

    async def get_me(self) -> object:
        """Tell whose token it is; raises TelegramError."""


async def webhook_state(telegram: Webhooks | None, now: float) -> WebhookState | None:
    """What Telegram says; None when it was not asked. `now` is Unix time."""
    if telegram is None:
        return None
    try:
        async with asyncio.timeout(TELEGRAM_S):
            return _state(await telegram.get_webhook_info(), now)
    except TokenRefused as error:
        return await _refused(telegram, error)
    except TimeoutError:
        return WebhookState(unasked=f"Telegram did not answer within {TELEGRAM_S:g} s")
    except TelegramError as error:
        return WebhookState(unasked=f"Telegram can't be asked: {error}")


async def _refused(telegram: Webhooks, error: TokenRefused) -> WebhookState:
    """A token that `getMe` refuses, too, is one for an operator to mend; else only this method is not there."""
    try:
        async with asyncio.timeout(TELEGRAM_S):
            await telegram.get_me()
    except TokenRefused as refused:
        return WebhookState(problem=f"Telegram refuses TELEGRAM_BOT_TOKEN ({refused})")
    except (TimeoutError, TelegramError):
        pass  # then nothing is known of the token
    return WebhookState(unasked=f"Telegram can't be asked: {error}")


def _state(known: WebhookInfo, now: float) -> WebhookState:
    """An error is trouble while updates wait and Telegram has met it lately; else it is history."""
    age_s = max(0.0, now - known.last_error_date) if known.last_error_date else 0.0
    troubled = bool(
        known.url and known.last_error_message and known.pending_update_count and age_s < RECENT_S
    )
    return WebhookState(
        url=known.url,
        pending=known.pending_update_count,
        last_error=known.last_error_message,
        last_error_age_s=round(age_s, 1),
        problem=f"Telegram can't deliver: {known.last_error_message}" if troubled else "",
    )
