"""The side of Telegram of whatever takes updates in: who we are, whom the webhook listens to, what it is made of."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from actors.command_list import DESCRIPTIONS
from actors.ports import TelegramError, TokenRefused
from app.cold_start import ColdStart
from app.fleet import Fleet
from app.metrics import Metrics
from app.runtime import World
from app.settings import Settings
from app.telegram.client import TelegramClient
from app.telegram.methods import BotCommand
from app.web.server import WebParts
from app.web.webhook import WebhookRules

log = structlog.get_logger(__name__)

FIRST_RETRY_S: Final = 1.0  # Telegram blinked
LAST_RETRY_S: Final = 60.0  # Telegram is away: group updates answer 503 meanwhile, and it keeps them
WARM_S: Final = 30.0  # in this process a store's deadlines end it earlier


class Gateway:
    """The Telegram side of whatever takes updates in: who we are, and the answers to pressed buttons."""

    def __init__(self, settings: Settings) -> None:
        self.client = TelegramClient(settings.require_telegram().reveal(), settings.telegram_api_url)
        self._learning: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Learn the bot's username beside the caller, as long as it takes; idempotent."""
        if self._learning is None:
            self._learning = asyncio.create_task(self._learn(), name="getMe")

    async def stop(self) -> None:
        """Give connections back."""
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.gather(self._learning, return_exceptions=True)
        await self.client.close()

    async def _learn(self) -> None:
        await _until_done(self._who_we_are)
        await self._show_commands()

    async def _who_we_are(self) -> None:
        await self.client.get_me()

    async def _show_commands(self) -> None:
        """Let people's apps list the commands; nothing else depends on it, so one try is enough."""
        commands = [BotCommand(name, meaning) for name, meaning in DESCRIPTIONS.items()]
        try:
            await self.client.set_my_commands(commands)
        except TelegramError as error:
            log.warning("commands_not_shown", error=str(error))


def web_parts(
    settings: Settings,
    fleet: Fleet,
    gateway: Gateway,
    world: World,
    *,
    cold: ColdStart | None = None,
    lazy_warm: bool = False,
    warm_deadline_s: float = WARM_S,
) -> WebParts:
    """What the web application is made of; raises SettingsError without a secret or a token."""
    admin = settings.admin_token
    return WebParts(
        fleet=fleet,
        rules=webhook_rules(settings),
        identity=lambda: gateway.client.identity,
        background=world.background,
        metrics=Metrics(cold.first("first_accept") if cold is not None else None),
        clock=world.clock,
        callbacks=gateway.client,
        admin_token=admin.reveal().encode() if admin else None,
        lazy_warm=lazy_warm,
        warm_deadline_s=warm_deadline_s,
    )


def webhook_rules(settings: Settings) -> WebhookRules:
    """Whom the webhook listens to; raises SettingsError without a secret."""
    return WebhookRules(
        secret=settings.require_webhook_secret().reveal().encode(),
        bot=settings.bot_id,
        allowed_users=settings.allowed_users,
    )


async def _until_done(work: Callable[[], Awaitable[None]]) -> None:
    """Try until it succeeds, or the token is refused, which only an operator can mend."""
    pause_s = FIRST_RETRY_S
    while True:
        try:
            return await work()
        except TokenRefused as error:
            log.error("telegram_token_refused", error=str(error))
            return None
        except TelegramError as error:
            log.warning("telegram_unreachable", error=str(error))
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, LAST_RETRY_S)
