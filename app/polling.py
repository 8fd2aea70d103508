"""`firstlight poll`: the same pipeline as the webhook, fed by long polling; durable updates are confirmed."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import chain
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
RETRY_S: Final = 2.0  # Telegram is away
AGAIN_S: Final = (
    1.0  # an update was refused: its chat is full or the store away; all others wait so long at most
)


class Polling:
    """Fetches updates and takes them in, those of a chat in order, until Telegram refuses the token (`refused`)."""

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
        window, held_up = Window(), False
        while True:
            try:
                fetched = await self._gateway.client.get_updates(window.offset)
            except TokenRefused as error:
                log.error("telegram_token_refused", error=str(error))
                self.refused.set()
                return
            except TelegramError as error:
                log.warning("poll_failed", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            taken = await asyncio.gather(*map(self._take_all, lanes(window.fresh(fetched))))
            refused = list(chain.from_iterable(taken))
            window.settle(fetched, refused)
            if refused and not held_up:  # told once, and not with each try
                log.warning("poll_held_up", updates=len(refused))
            held_up = bool(refused)
            if refused:
                await asyncio.sleep(AGAIN_S)

    async def _take_all(self, lane: Sequence[Polled]) -> list[int]:
        """Take a chat's updates in, up to the first that is refused; gives it and those behind it."""
        for place, update in enumerate(lane):
            if not (await self._intake.take(update.body)).durable:
                return [each.update_id for each in lane[place:]]
        return []


class Window:
    """Which updates are fetched next: from `offset` on, which confirms all before it, so that Telegram forgets them.

    It stays at the first update that is not durable. What is durable behind it is fetched again and passed over. A call
    gives at most 100 updates (Bot API `getUpdates`), so that a refused one lets 99 others pass, those of its own chat
    counted. What comes behind these waits at Telegram, for 24 h: until the chat's mailbox, which holds 100, has room.
    """

    def __init__(self) -> None:
        self.offset = 0
        self._durable: frozenset[int] = frozenset()

    def fresh(self, fetched: Sequence[Polled]) -> list[Polled]:
        """Those that are not known to be durable."""
        return [update for update in fetched if update.update_id not in self._durable]

    def settle(self, fetched: Sequence[Polled], refused: Collection[int]) -> None:
        """Move on to the first of the refused, else behind all; and to 0, which confirms nothing, once that is done.

        An empty answer has confirmed all before it. After a week without updates Telegram numbers them anew (Bot API
        `Update`), perhaps from a lower id on, and asked from the old offset on it would forget them unseen.
        """
        ids = frozenset(update.update_id for update in fetched)
        self.offset = min(refused) if refused else max(ids, default=-1) + 1
        self._durable = ids.difference(refused) if refused else frozenset()


def lanes(fetched: Sequence[Polled]) -> list[list[Polled]]:
    """Put a chat's updates into one lane: they keep their order, and chats do not wait for one another."""
    found = defaultdict[int, list[Polled]](list)
    for update in fetched:
        found[_chat(update)].append(update)
    return [*found.values()]


def _chat(update: Polled) -> int:
    try:
        return classify(update.body, ANYBODY).incoming.chat
    except Unreadable:
        return 0
