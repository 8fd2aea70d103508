"""The SessionCacheActor: sessions, conversations and mailboxes of one shard's chats, warm in L1."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from actors import session_codec
from actors.actor import Actor
from actors.cache import Cache
from actors.cache_values import Versioned
from actors.flight import FlightError
from actors.mailbox import Mailboxes
from actors.meter import Meter
from actors.ports import Background, Chance, Clock, SessionRecord, SessionStore, StoreDown, VersionConflict
from actors.turn_journal import TurnJournal
from actors.turn_leases import TurnLeases
from actors.turn_store import TurnStore
from actors.turn_sweep import TurnSweep
from actors.warming import Tally, Warmer
from contracts.base import Message
from contracts.codec import read_session_request
from contracts.sessions import (
    AcceptUpdate,
    AdoptSession,
    BeginSending,
    ClaimTurn,
    ClearConversation,
    CommitTurn,
    ForgetChat,
    LoadSession,
    MarkDelivered,
    PatchSession,
    ReleaseTurn,
    RenewLease,
    SessionLoaded,
    SessionRequest,
    SessionSaved,
    SweepTurns,
)
from contracts.turns import Session
from contracts.warming import ActorStats

log = structlog.get_logger(__name__)

SESSION_TTL_S = 3600.0  # DESIGN 5; a session that another owner changed is noticed at the next commit anyway
NEGATIVE_TTL_S = 300.0  # a new chat's first turn writes its session, so an absence is short-lived
MAX_REVISIONS = 50_000  # of 64 bytes each; more sessions than L1 holds in its 64 MiB
UNKNOWN_REVISION = -1  # of a session written beside a turn: the next append's makes the shard read it once
WRITE_TRIES = 3  # C6: reload and reapply; a session has one owner, so a second conflict is already rare

Change = Callable[[Session | None], Session | None]
"""Gives what a session (None: absent) is to become (None: a tombstone); the same one again writes nothing."""


@dataclass(frozen=True, slots=True)
class SessionCacheOptions:
    """Bounds of a shard: L1 in bytes, sessions warmed without an image, updates waiting in a chat, seconds."""

    l1_bytes: int = 64 * 1024 * 1024
    warm_sessions: int = 50
    mailbox_limit: int = 100
    warm_deadline_s: float = 5.0


class SessionCacheActor(Actor[SessionRequest]):
    """Owns the chats of its shard. Every write is a compare-and-set, so that a second owner loses nothing."""

    name = "SessionCacheActor"
    reads = read_session_request
    housekeeping = (SweepTurns,)

    def __init__(
        self,
        shard: int,
        *,
        store: SessionStore,
        meter: Meter,
        clock: Clock,
        chance: Chance,
        background: Background,
        options: SessionCacheOptions | None = None,
    ) -> None:
        super().__init__(clock=clock, meter=meter, shard=shard)
        self._options = options or SessionCacheOptions()
        self._store, self._chance, self._background = store, chance, background
        self._sessions: Cache[int, bytes] = Cache(
            max_bytes=self._options.l1_bytes,
            ttl_s=SESSION_TTL_S,
            negative_ttl_s=NEGATIVE_TTL_S,
            weigh=len,
            clock=clock.monotonic_s,
            name="sessions",
        )
        self._revisions: dict[int, int] = {}
        self._mailboxes = Mailboxes()
        self._turns = TurnStore(
            shard,
            store=store,
            sessions=self,
            mailboxes=self._mailboxes,
            clock=clock,
            background=background,
            count=self.count,
        )
        self._leases = TurnLeases(self._turns, chance)
        self._journal = TurnJournal(self._turns, self._leases, self._options.mailbox_limit)
        self._sweep = TurnSweep(self._turns, store, background)
        self.doubts = 0
        self.warmer = Warmer(
            self._plan,
            actor=self.name,
            shard=shard,
            clock=clock,
            chance=chance,
            background=background,
            deadline_s=self._options.warm_deadline_s,
        )

    async def answer(self, request: SessionRequest) -> Message:
        """Answer a request; the whole protocol at once."""
        match request:
            case AcceptUpdate():
                return await self._journal.accept(request)
            case ClaimTurn():
                return await self._leases.claim(request)
            case RenewLease():
                return await self._leases.renew(request)
            case ReleaseTurn():
                return await self._leases.release(request)
            case CommitTurn():
                return await self._journal.commit(request)
            case MarkDelivered():
                return await self._journal.delivered(request)
            case BeginSending():
                return await self._journal.begin_sending(request)
            case LoadSession(chat=chat):
                return await self._load(chat)
            case PatchSession(chat=chat, patch=patch):
                return await self._change(chat, lambda session: session_codec.patched(session, patch))
            case ClearConversation(chat=chat):
                return await self._change(chat, lambda session: msgspec.structs.replace(session, messages=()))
            case ForgetChat(chat=chat):
                return await self._forget(chat)
            case AdoptSession(chat=chat, session=session):
                return await self._adopt(chat, session)
            case SweepTurns():
                return await self._sweep.stranded()

    def statistics(self) -> ActorStats:
        """What the shard tells of itself."""
        held = self._sessions.stats()
        return msgspec.structs.replace(
            self.base_stats(),
            hits=held.hits + held.negative_hits,
            misses=held.misses,
            loads=held.loads,
            evictions=held.evictions,
            entries=held.entries,
            bytes=held.bytes,
            counters={**self.counters, "waiting": self._mailboxes.waiting},
        )

    async def close(self) -> None:
        """End the loads under way; who opened the store closes it, when the work beside has ended, too."""
        await self._sessions.close()

    # ------------------------------------------------------------ sessions (port `Sessions` of the turns)

    async def read(self, chat: int) -> Versioned[bytes]:
        """The chat's session from L1, or from the store; raises StoreError, never takes that for absent."""
        try:
            return await self._sessions.get_or_load(chat, self._from_store)
        except FlightError as busy:
            raise StoreDown(f"sessions: {busy}") from busy

    def learn(self, session: SessionRecord) -> None:
        """Take over a session that was durably written or read; an older version changes nothing."""
        if session.body:
            held = self._sessions.put(session.chat, session.body, session.version)
        else:
            held = self._sessions.put_absent(session.chat, session.version)
        if held:
            self._note_revision(session.chat, session.revision)

    def unlearn(self, chat: int) -> None:
        """Drop a session whose write may or may not have happened."""
        self.doubts += 1
        self._sessions.remove(chat)

    def told(self, chat: int, revision: int) -> None:
        """Drop the session if the store has it at another revision: the shard's other owner wrote it."""
        if self._revisions.get(chat) == revision:
            return
        if self._sessions.remove(chat):
            self.doubts += 1
            self.count("sessions_outdated")

    def _note_revision(self, chat: int, revision: int) -> None:
        """Remember it with the session; a forgotten one costs a read."""
        self._revisions.pop(chat, None)
        self._revisions[chat] = revision
        if len(self._revisions) > MAX_REVISIONS:
            del self._revisions[next(iter(self._revisions))]

    # ------------------------------------------------------------ requests

    async def _load(self, chat: int) -> SessionLoaded:
        held = await self.read(chat)
        box = self._mailboxes.get(chat)
        return SessionLoaded(
            session=self._turns.session_of(chat, held),
            version=held.version,
            waiting=box.waiting if box is not None else 0,
        )

    async def _forget(self, chat: int) -> SessionSaved:
        await self._turns.erase_ended(chat)
        return await self._write(chat, lambda _: None)

    async def _adopt(self, chat: int, session: Session) -> SessionSaved:
        """Give an absent session a value; one that is there, or was written meanwhile, stays."""
        adopted = msgspec.structs.replace(session, chat=chat)
        return await self._write(chat, lambda held: held if held is not None else adopted)

    async def _change(self, chat: int, change: Callable[[Session], Session]) -> SessionSaved:
        """Change a session, or a new one where there is none."""
        new = self._turns.session_of(chat, Versioned(value=None))
        return await self._write(chat, lambda held: change(held if held is not None else new))

    async def _write(self, chat: int, change: Change) -> SessionSaved:
        """Write what `change` makes of the session, if it still is what was read; else read and try again."""
        operation = self._chance.token()
        for _ in range(WRITE_TRIES - 1):
            try:
                return await self._write_once(chat, change, operation)
            except VersionConflict:
                self.count("session_conflicts")
        return await self._write_once(chat, change, operation)

    async def _write_once(self, chat: int, change: Change, operation: str) -> SessionSaved:
        held = await self.read(chat)
        before = self._turns.session_of(chat, held) if held.value is not None else None
        session = change(before)
        if session is before:
            return SessionSaved(version=held.version)
        body = session_codec.pack(session, over=held.value or b"") if session is not None else b""
        record = SessionRecord(chat=chat, shard=self.shard or 0, body=body, version=held.version)
        return SessionSaved(version=await self._save(record, operation))

    async def _save(self, record: SessionRecord, operation: str) -> int:
        try:
            version = await self._store.write_session(record, operation)
        except BaseException:
            self.unlearn(record.chat)  # it may have happened: the next reader asks the store
            raise
        self.learn(msgspec.structs.replace(record, version=version, revision=UNKNOWN_REVISION))
        return version

    # ------------------------------------------------------------ warming

    async def _plan(self, tally: Tally) -> None:
        """Load the shard's most recent sessions in one query (the warm image comes before it, later)."""
        tally.source = "query"
        with tally.phase("sessions"):
            recent = await self._store.recent_sessions(self.shard or 0, self._options.warm_sessions)
        tally.requested = len(recent.sessions) + len(recent.set_aside)
        seeded = self._sessions.seed((each.chat, each.body, each.version) for each in recent.sessions)
        for each in recent.sessions:
            held = self._sessions.peek(each.chat)
            if held is not None and held.version == each.version:
                self._note_revision(each.chat, each.revision)
        tally.loaded, tally.skipped = seeded.kept + seeded.newer, seeded.no_room
        tally.bytes = sum(len(each.body) for each in recent.sessions)
        for poison in recent.set_aside:
            tally.fail(f"{poison.file}: {poison.reason}")
            log.warning("session_warm_failed", shard=self.shard, session=poison.file, error=poison.reason)
        log.info("sessions_warmed", shard=self.shard, count=tally.loaded)
        log.info("cache_warming_complete", actor=self.name, shard=self.shard, cached=len(self._sessions))

    async def _from_store(self, chat: int) -> Versioned[bytes]:
        batch = await self._store.read_sessions((chat,))
        for poison in batch.set_aside:
            self.count("sessions_set_aside")
            log.warning("session_set_aside", session=poison.file, reason=poison.reason)
        found = next((each for each in batch.sessions if each.chat == chat), None)
        self._note_revision(chat, found.revision if found is not None else 0)
        if found is None:
            return Versioned(value=None)
        return Versioned(value=found.body or None, version=found.version)
