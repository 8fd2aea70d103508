"""`firstlight poll`: the same pipeline as the webhook, fed by long polling; durable updates are confirmed."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import structlog

from actors.ports import TelegramError, TokenRefused
from app.gateway import Gateway
from app.intake import UpdateIntake
from app.metrics import Metrics
from app.settings import Settings
from app.system import LocalSystem
from app.telegram.methods import Polled
from app.telegram.updates import BotIdentity, Unreadable, classify

log = structlog.get_logger(__name__)

ANYBODY: Final = BotIdentity(
    0, "anybody"
)  # a chat is known before our own name is, for which some updates wait
RETRY_S: Final = 2.0  # Telegram or the store is away; asked again, it gives the same updates


class Polling:
    """Fetches updates and takes them in, in order, until Telegram refuses the token (`refused`)."""

    def __init__(self, settings: Settings) -> None:
        self._system = LocalSystem(settings)
        self._gateway = Gateway(settings)
        world = self._system.world
        self._intake = UpdateIntake(
            bot=settings.bot_id,
            allowed_users=settings.allowed_users,
            fleet=self._system.fleet,
            identity=lambda: self._gateway.client.identity,
            background=world.background,
            metrics=Metrics(),
            clock=world.clock,
            callbacks=self._gateway.client,
        )
        self._fetching: asyncio.Task[None] | None = None
        self.refused = asyncio.Event()

    async def start(self) -> None:
        """Start the actors, then fetch."""
        await self._system.start()
        self._gateway.start()
        self._fetching = asyncio.create_task(self._fetch(), name="getUpdates")

    async def stop(self) -> None:
        """Fetch no more, let turns end or hand them back; idempotent."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._system.close()
        await self._gateway.stop()

    async def _fetch(self) -> None:
        offset = 0
        while True:
            try:
                fetched = await self._gateway.client.get_updates(offset)
                await asyncio.gather(*(self._take_all(lane) for lane in lanes(fetched)))
                offset = offset_after(fetched)
            except TokenRefused as error:
                log.error("telegram_token_refused", error=str(error))
                self.refused.set()
                return
            except TelegramError as error:
                log.warning("poll_failed", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _take_all(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            await self._take(body)

    async def _take(self, body: bytes) -> None:
        """Take an update in, again and again until it is durable: Telegram forgets it at the next call."""
        while True:
            if (await self._intake.take(body)).durable:
                return
            await asyncio.sleep(RETRY_S)


def offset_after(fetched: Sequence[Polled]) -> int:
    """The offset to ask with next, which confirms what was fetched; 0, which confirms nothing, once that is done.

    An empty answer has confirmed all before it. After a week without updates Telegram numbers them anew (Bot API
    `Update`), perhaps from a lower id on, and asked from the old offset on it would forget them unseen.
    """
    return max((update.update_id + 1 for update in fetched), default=0)


def lanes(fetched: Sequence[Polled]) -> list[list[bytes]]:
    """Put a chat's updates into one lane: they keep their order, and chats do not wait for one another."""
    found = defaultdict[int, list[bytes]](list)
    for update in fetched:
        found[_chat(update)].append(update.body)
    return [*found.values()]


def _chat(update: Polled) -> int:
    try:
        return classify(update.body, ANYBODY).incoming.chat
    except Unreadable:
        return 0
