"""Finds the turns that nobody works on, and learns the mailboxes that a new container does not know yet."""

from collections.abc import Sequence

from actors.mailbox import Mailbox
from actors.ports import Background
from actors.stores import SessionStore, UpdateRecord
from actors.turn_store import TurnStore
from contracts.sessions import TurnsStranded

SWEEP_LIMIT = 1_000  # open updates looked at in one sweep; the next one goes on behind them
CHATS_A_READ = 100  # one wave of reads; each of the mailboxes may hold some hundred updates
PURGE_LIMIT = 500  # expired records dropped at a time: a bounded write
PURGE_EVERY_S = 600.0  # expiry is counted in days; a purge that was cut short goes on with the next sweep


class TurnSweep:
    """Costs one query when nothing waits, and two reads more for a hundred chats that nobody works on here."""

    def __init__(self, turns: TurnStore, store: SessionStore, background: Background) -> None:
        self._turns, self._store, self._background = turns, store, background
        self._purge_after = turns.now() + PURGE_EVERY_S
        self._after: UpdateRecord | None = None

    async def stranded(self) -> TurnsStranded:
        """The chats whose turns wait without a living owner, in this container or in the store."""
        self._purge_beside()
        chats = self._unattended(await self._page())
        read: list[int] = []
        for start in range(0, len(chats), CHATS_A_READ):
            read += await self._turns.learn(chats[start : start + CHATS_A_READ])
        now = self._turns.now()
        idle = {chat: head for chat in read if (head := self._box(chat).idle_head(now)) is not None}
        return TurnsStranded(
            chats=tuple(idle), updates=tuple((head.bot, head.update) for head in idle.values())
        )

    async def _page(self) -> Sequence[UpdateRecord]:
        """The open updates behind those of the last sweep; behind the newest comes the oldest."""
        shard, after = self._turns.shard, self._after
        page = await self._store.open_updates(shard, SWEEP_LIMIT, after)
        if after is not None and not page:
            page = await self._store.open_updates(shard, SWEEP_LIMIT)
        # A full page may come short, as updates that can't be read are left out of it.
        self._after = page[-1] if len(page) > SWEEP_LIMIT // 2 else None
        return page

    def _unattended(self, updates: Sequence[UpdateRecord]) -> list[int]:
        """Chats, longest waiting first, whose mailbox is unknown, outdated, or without an owner as far as known."""
        now, chats = self._turns.now(), dict[int, None]()
        for update in updates:
            box = self._turns.mailboxes.get(update.chat)
            if box is not None and update.key not in box.records and update.version > box.counted_at:
                self._turns.mailboxes.doubt(update.chat)  # accepted by another container
            if box is None or not box.whole or box.idle(now):
                chats[update.chat] = None
        return list(chats)

    def _box(self, chat: int) -> Mailbox:
        return self._turns.mailboxes.get(chat) or Mailbox()

    def _purge_beside(self) -> None:
        if self._turns.now() >= self._purge_after:
            self._purge_after = self._turns.now() + PURGE_EVERY_S
            self._background.spawn("purge", self._purge)

    async def _purge(self) -> None:
        if await self._store.purge(PURGE_LIMIT) >= PURGE_LIMIT:
            self._purge_after = self._turns.now()
