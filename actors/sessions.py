"""The sessions that a shard holds in L1: read through it, learned with each write, dropped when in doubt."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeVar

import structlog

from actors import session_codec
from actors.cache import Cache
from actors.cache_entry import NEVER
from actors.cache_values import CacheStats, Versioned
from actors.flight import FlightError
from actors.ports import Clock
from actors.score import Scores
from actors.stores import SessionRecord, SessionStore, StoreDown
from actors.warm_ports import SessionChanges
from contracts.skills import SetAside

log = structlog.get_logger(__name__)

T = TypeVar("T")

SESSION_TTL_S: Final = 3600.0  # a session that another owner changed is noticed at the next commit anyway
NEGATIVE_TTL_S: Final = 300.0  # a new chat's first turn writes its session, so an absence is short-lived
MAX_REVISIONS: Final = 50_000  # of 64 bytes each; more sessions than L1 holds in its 64 MiB
SLICE: Final = 250  # sessions taken in between two looks at the loop: about a millisecond


class Taken(NamedTuple):
    """What became of sessions given to `take_in`: L1 has them, or newer ones; the rest is loaded on demand."""

    loaded: int
    skipped: int


class ShardSessions:
    """L1 of one shard's sessions, the port `Sessions` of its turns.

    `doubts` counts how often a session was unlearned. `changed` are the chats whose session was written or
    forgotten since somebody emptied it. `imaged` are the chats that the stored image may hold, None while nobody
    knows; `forgotten` says that one of these was forgotten since then, `erased` that one of the others was.
    `on_change` is called when there is one more of the `changed`.
    `scores` tell which sessions are worth keeping.
    """

    def __init__(
        self, shard: int, *, store: SessionStore, clock: Clock, max_bytes: int, count: Callable[[str], None]
    ) -> None:
        self._shard, self._store, self._clock, self._count = shard, store, clock, count
        self.scores = Scores()
        self._cache: Cache[int, bytes] = Cache(
            max_bytes=max_bytes,
            ttl_s=SESSION_TTL_S,
            negative_ttl_s=NEGATIVE_TTL_S,
            weigh=len,
            clock=clock,
            worth=self.scores.get,
            name="sessions",
        )
        self._revisions: dict[int, int] = {}
        self._doubted: dict[int, float] = {}
        self._listed: dict[int, int] = {}
        self._floors: dict[int, int] = {}
        self._unproven: set[int] = set()
        self.doubts = 0
        self.changed: set[int] = set()
        self.on_change: Callable[[], None] = _unheard
        self.imaged: frozenset[int] | None = None
        self.forgotten = self.erased = False

    def __len__(self) -> int:
        """Count what is held, the known absences among it."""
        return len(self._cache)

    def stats(self) -> CacheStats:
        """What L1 counts."""
        return self._cache.stats()

    async def close(self) -> None:
        """End the loads under way."""
        await self._cache.close()

    # ------------------------------------------------------------ one session

    async def read(self, chat: int) -> Versioned[bytes]:
        """The chat's session from L1, or from the store; raises StoreError, never takes that for absent."""
        if chat in self._unproven:
            self._prove(chat)
        try:
            return await self._cache.get_or_load(chat, self._from_store)
        except FlightError as busy:
            raise StoreDown(f"sessions: {busy}") from busy

    def learn(self, session: SessionRecord) -> None:
        """Take over a session that was durably written or read; an older version changes nothing."""
        if session.version < self._floors.get(session.chat, 0):
            return  # read before the last look at the changes, and changed meanwhile
        before = self._cache.peek(session.chat)
        if before is None or before.version != session.version:
            self._note_change(session)
        if session.body:
            held = self._cache.put(session.chat, session.body, session.version)
        else:
            held = self._cache.put_absent(session.chat, session.version)
        if held:
            self._note_revision(session.chat, session.revision)

    def unlearn(self, chat: int) -> None:
        """Drop a session whose write may or may not have happened."""
        self._doubt(chat)
        self._cache.remove(chat)

    def told(self, chat: int, revision: int) -> None:
        """Drop the session if the store has it at another revision: the shard's other owner wrote it."""
        if self._revisions.get(chat) == revision:
            return
        if self._cache.remove(chat):
            self._doubt(chat)
            self._count("sessions_outdated")

    # ------------------------------------------------------------ many sessions

    async def take_in(
        self, records: Sequence[SessionRecord], read_at: float, *, proven: bool = True
    ) -> Taken:
        """Hold sessions that the store had at the clock's `read_at`, hottest first, in slices; newest wins.

        Nothing is pushed out for them. What is not `proven` is looked into at its first use.
        """
        loaded = 0
        for first in range(0, len(records), SLICE):
            loaded += self._seed(records[first : first + SLICE], read_at, proven)
            await asyncio.sleep(0)  # requests are served meanwhile
        return Taken(loaded=loaded, skipped=len(records) - loaded)

    def heed(self, changes: SessionChanges) -> None:
        """Drop what these changes outdate; for a while, refuse whatever is older than they are.

        That is until the changes after the next ones: what was asked of the store before has come in by then.
        """
        self._floors, self._listed = self._listed, {each.chat: each.version for each in changes.sessions}
        for chat, version in self._listed.items():  # answers may overtake one another: none lowers a floor
            self._floors[chat] = max(version, self._floors.get(chat, 0))
        for each in changes.sessions:
            self._cache.invalidate(each.chat, each.version)
            if not each.body:
                self.scores.drop(each.chat)
        for chat in chats_of(changes.set_aside):
            self._cache.remove(chat)

    def note_forgotten(self, chat: int) -> None:
        """The chat's session was forgotten: the image is to forget it soon if it holds it, and its score goes."""
        if self.imaged is None or chat in self.imaged:
            self.forgotten = True
        else:
            self.erased = True
        self.scores.drop(chat)

    def begin_anew(self) -> None:
        """Some changes were missed: what is being read this moment is not taken over."""
        self.doubts += 1

    def still_changed(self, chats: set[int]) -> None:
        """No image was written of what had changed: count it again, up to the bound, with what has changed since."""
        self.changed.update(islice(chats - self.changed, max(0, MAX_REVISIONS - len(self.changed))))

    def confirm(self, read_at: float, since: float) -> None:
        """All that was read at `since` or later, and is held now, was still so in the store at `read_at`."""
        self._cache.confirm(read_at, since)

    def chats(self) -> list[int]:
        """The chats of what is held, hottest first."""
        return self._cache.keys()

    def held_since(self, chat: int, since: float) -> SessionRecord | None:
        """A session that was read, or confirmed, at `since` or later; None for an absent one."""
        held = self._cache.peek_since(chat, since)
        if held is None or held.value is None:
            return None
        revision = self._revisions.get(chat, 0)
        return SessionRecord(
            chat=chat, shard=self._shard, body=held.value, version=held.version, revision=revision
        )

    # ------------------------------------------------------------ helpers

    def _seed(self, records: Sequence[SessionRecord], read_at: float, proven: bool) -> int:
        current = [each for each in records if self._is_current(each, read_at)]
        seeded = self._cache.seed(((each.chat, each.body, each.version) for each in current), read_at)
        for each in current:
            held = self._cache.peek(each.chat)
            if held is not None and held.version == each.version:
                self._note_revision(each.chat, each.revision)
                if not proven:
                    self._unproven.add(each.chat)
        if len(self._unproven) > MAX_REVISIONS:  # some have left L1 unread, and need no proof any more
            self._unproven.intersection_update(self._cache.keys())
        return seeded.kept + seeded.newer

    def _is_current(self, record: SessionRecord, read_at: float) -> bool:
        """Whether nothing newer is known to be, or may be, in the store."""
        if record.version < self._floors.get(record.chat, 0):
            return False
        return self._doubted.get(record.chat, NEVER) < read_at

    def _prove(self, chat: int) -> None:
        """Look into a session from an image: one that can't be read, or is another chat's, is dropped."""
        self._unproven.discard(chat)
        held = self._cache.peek(chat)
        if held is None or held.value is None or session_codec.is_of(held.value, chat):
            return
        self._count("image_sessions_poisoned")
        log.error("image_session_set_aside", shard=self._shard, chat=chat)
        self._cache.remove(chat)

    async def _from_store(self, chat: int) -> Versioned[bytes]:
        batch = await self._store.read_sessions((chat,))
        for poison in batch.set_aside:
            self._count("sessions_set_aside")
            log.warning("session_set_aside", session=poison.file, reason=poison.reason)
        found = next((each for each in batch.sessions if each.chat == chat), None)
        self._note_revision(chat, found.revision if found is not None else 0)
        if found is None:
            return Versioned(value=None)
        if not found.body:
            self.note_forgotten(chat)
        return Versioned(value=found.body or None, version=found.version)

    def _note_change(self, session: SessionRecord) -> None:
        if not session.version:
            return
        if len(self.changed) < MAX_REVISIONS:
            self.changed.add(session.chat)
            self.on_change()
        if not session.body:
            self.note_forgotten(session.chat)

    def _note_revision(self, chat: int, revision: int) -> None:
        """Remember it with the session; a forgotten one costs a read."""
        _note(self._revisions, chat, revision)

    def _doubt(self, chat: int) -> None:
        self.doubts += 1
        _note(self._doubted, chat, self._clock.monotonic_s())


def chats_of(set_aside: Iterable[SetAside]) -> set[int]:
    """The chats of unreadable sessions: a document's id is its chat's, and one that is no number is nobody's."""
    names = (each.file.rpartition("/")[2] for each in set_aside)
    return {int(name) for name in names if name.lstrip("-").isdecimal()}


def _unheard() -> None:
    pass


def _note(notes: dict[int, T], chat: int, what: T) -> None:
    """Remember what is newest of a chat; beyond the bound, forget what is oldest."""
    notes.pop(chat, None)
    notes[chat] = what
    if len(notes) > MAX_REVISIONS:
        del notes[next(iter(notes))]
