"""How a ChatAgent warms: the catalog in one call, beside opening the connections to Telegram and the model."""

import asyncio

import structlog

from actors.answering import Answering
from actors.ports import Model, ModelError, Telegram, TelegramError, TokenRefused, Unreachable
from actors.warming import Tally, WarmFailed

log = structlog.get_logger(__name__)

NAME = "ChatAgent"


class AgentWarming:
    """The plan. Each part notes its own failure, so that none ends the others."""

    def __init__(self, answering: Answering, telegram: Telegram, model: Model) -> None:
        self._answering, self._telegram, self._model = answering, telegram, model

    async def plan(self, tally: Tally) -> None:
        """Do all at once, and leave nothing running when the deadline cuts it off."""
        tally.source = "query"
        async with asyncio.TaskGroup() as group:
            group.create_task(self._catalog(tally))
            group.create_task(self._connect_telegram(tally))
            group.create_task(self._connect_model(tally))
        log.info("cache_warming_complete", actor=NAME, cached=tally.loaded)

    async def _catalog(self, tally: Tally) -> None:
        try:
            await self._answering.warm(tally)
        except (Unreachable, WarmFailed) as error:
            line = f"{type(error).__name__}: {error}"
            tally.fail(line, entries=0, retry=getattr(error, "retry", True))
            log.warning("cache_warming_failed", actor=NAME, shard=None, error=line)

    async def _connect_telegram(self, tally: Tally) -> None:
        with tally.phase("telegram"):
            try:
                await self._telegram.connect()
            except TelegramError as error:
                tally.fail(f"telegram: {error}", entries=0, retry=not isinstance(error, TokenRefused))

    async def _connect_model(self, tally: Tally) -> None:
        with tally.phase("model"):
            try:
                await self._model.connect()
            except ModelError as error:
                tally.fail(f"model: {error}", entries=0, retry=error.retry)
