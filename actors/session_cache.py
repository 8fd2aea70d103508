"""The SessionCacheActor: sessions, conversations and mailboxes of one shard's chats, warm in L1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from actors import session_codec, turns
from actors.actor import Actor
from actors.cache_values import Versioned
from actors.conversation import extend
from actors.image_keeper import ImageKeeper
from actors.inbox import Inbox
from actors.mailbox import Mailboxes
from actors.meter import Meter
from actors.ports import Background, Chance, Clock
from actors.session_warming import SessionWarming
from actors.sessions import ShardSessions
from actors.stores import SessionRecord, SessionStore, StoreError, StoreExhausted, VersionConflict
from actors.turn_journal import TurnJournal
from actors.turn_leases import TurnLeases
from actors.turn_store import TurnStore
from actors.turn_sweep import TurnSweep
from actors.warm_ports import WarmStore
from contracts.base import Message
from contracts.codec import read_session_request
from contracts.sessions import (
    AcceptUpdate,
    AcceptUpdates,
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
    SplitChunk,
    SweepTurns,
    UpdateAccepted,
    UpdatesAccepted,
)
from contracts.turns import Session
from contracts.warming import ActorStats

UNKNOWN_REVISION = -1  # of a session written beside a turn: the next append's makes the shard read it once
WRITE_TRIES = 3  # reload and reapply; a session has one owner, so a second conflict is already rare

Change = Callable[[Session | None], Session | None]
"""Gives what a session (None: absent) is to become (None: a tombstone); the same one again writes nothing."""


@dataclass(frozen=True, slots=True)
class SessionCacheOptions:
    """Bounds of a shard: L1 in bytes, sessions warmed without an image, updates waiting in a chat, seconds.

    What takes updates in keeps 32 KiB of text of each at most, so that 100 that wait are 3.2 MiB at most.
    `shards` is how many there are: an image of another number holds other chats. After `image_changes`
    changed sessions, or a tenth of those held if that is more, a new image is worth writing: a start finds
    fewer than that in one look at the changes. A start asks for the `newest_changes` beside the image.
    """

    shards: int = 1
    image_changes: int = 20
    newest_changes: int = 10  # with manifest and blobs a start reads at most 20 documents
    l1_bytes: int = 64 * 1024 * 1024
    warm_sessions: int = 50
    mailbox_limit: int = 100
    unsent_most_s: float = turns.UNSENT_MOST_S
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
        images: WarmStore,
        meter: Meter,
        clock: Clock,
        chance: Chance,
        background: Background,
        options: SessionCacheOptions | None = None,
    ) -> None:
        super().__init__(clock=clock, meter=meter, shard=shard)
        self._options = options or SessionCacheOptions()
        self._store, self._chance = store, chance
        self.sessions = ShardSessions(
            shard, store=store, clock=clock, max_bytes=self._options.l1_bytes, count=self.count
        )
        self._mailboxes = Mailboxes()
        self._turns = TurnStore(
            shard,
            store=store,
            sessions=self.sessions,
            mailboxes=self._mailboxes,
            clock=clock,
            background=background,
            count=self.count,
        )
        self._leases = TurnLeases(self._turns, chance)
        self._inbox = Inbox(self._turns, self._options.mailbox_limit)
        self._journal = TurnJournal(self._turns, self._leases, self._options.unsent_most_s)
        self._sweep = TurnSweep(self._turns, store, background)
        self._keeper = ImageKeeper(
            self.name,
            shard,
            self._options.shards,
            changes=self._options.image_changes,
            newest=self._options.newest_changes,
            images=images,
            sessions=self.sessions,
            clock=clock,
            background=background,
            count=self.count,
        )
        warming = SessionWarming(
            recent=self._options.warm_sessions,
            store=store,
            images=images,
            sessions=self.sessions,
            keeper=self._keeper,
            background=background,
            count=self.count,
        )
        self.warmer = self.warmer_of(
            warming.plan,
            chance=chance,
            background=background,
            deadline_s=self._options.warm_deadline_s,
        )

    async def answer(self, request: SessionRequest) -> Message:
        """Answer a request; the whole protocol at once."""
        match request:
            case AcceptUpdate():
                return await self._accept(request)
            case AcceptUpdates(updates=updates):
                return await self._accept_all(updates)
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
            case SplitChunk():
                return await self._journal.split(request)
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
        held = self.sessions.stats()
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

    def store_failed(self, error: StoreError) -> None:
        """Note it; over quota, the warm image waits before the turns do."""
        super().store_failed(error)
        if isinstance(error, StoreExhausted):
            self._keeper.shed()

    async def open(self) -> None:
        """Begin to keep the warm image."""
        self._keeper.start()

    async def close(self) -> None:
        """Write the image and end the loads; who opened the store closes it, when the work beside has ended, too."""
        await self._keeper.close()
        await self.sessions.close()

    # ------------------------------------------------------------ requests

    async def _accept(self, request: AcceptUpdate) -> Message:
        """Accept the update; its chat is wanted once more."""
        reply = await self._inbox.accept(request)
        self._note(request, reply)
        return reply

    async def _accept_all(self, requests: Sequence[AcceptUpdate]) -> UpdatesAccepted:
        outcomes = await self._inbox.accept_all(requests)
        results = tuple(self.fault_of(each) if isinstance(each, StoreError) else each for each in outcomes)
        for request, reply in zip(requests, results, strict=True):
            self._note(request, reply)
        return UpdatesAccepted(results=results)

    def _note(self, request: AcceptUpdate, reply: Message) -> None:
        if isinstance(reply, UpdateAccepted) and request.verdict == "queue":
            self.sessions.scores.touch(request.incoming.chat, self.clock.unix_s())

    async def _load(self, chat: int) -> SessionLoaded:
        held = await self.sessions.read(chat)
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
        """Give the session of the chat that it was; what the chat has of its own meanwhile comes after that."""
        adopted = msgspec.structs.replace(session, chat=chat)
        return await self._write(chat, lambda held: adopted if held is None else _following(held, adopted))

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
        held = await self.sessions.read(chat)
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
            self.sessions.unlearn(record.chat)  # it may have happened: the next reader asks the store
            raise
        self.sessions.learn(msgspec.structs.replace(record, version=version, revision=UNKNOWN_REVISION))
        return version


def _following(own: Session, former: Session) -> Session:
    """A chat's own session with its former one before it; it is as old as that then, so that it follows it once."""
    if own.created_at == former.created_at:  # whose clock was ahead, nobody knows
        return own
    return msgspec.structs.replace(
        own,
        mode=own.mode if own.mode != Session(chat=0).mode else former.mode,
        turns=former.turns + own.turns,
        created_at=former.created_at,
        last_skill=own.last_skill or former.last_skill,
        messages=extend(former.messages, own.messages),
    )
