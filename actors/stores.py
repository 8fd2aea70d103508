"""What the actors ask of a store: its errors, its records, and the two stores of sessions and of skill runs."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from contracts.base import Value
from contracts.skills import SetAside, SkillStats
from contracts.turns import TurnState


class StoreError(Exception):
    """The store did not do what was asked.

    StoreError
    ├── StoreDown        retry      unavailable, past its deadline, contended; a write may have happened
    │   └── StoreExhausted              over quota: what is optional has to wait
    ├── StoreDenied      no retry   permission, a missing index, a request that the store refuses
    │   └── StoreTooLarge               for its size: a smaller one would do
    └── VersionConflict  no retry   the document is at another version: reload, reapply once
    """

    retry = False


class StoreDown(StoreError):
    """Nothing answered in time, or the store is overloaded; asking again can help."""

    retry = True


class StoreExhausted(StoreDown):
    """Over quota: asking again at once makes it worse, so that what is optional waits."""


class StoreDenied(StoreError):
    """The store said no; only an operator can change that. `shut_out`: not to this request alone."""

    shut_out = True


class StoreTooLarge(StoreDenied):
    """The request has more bytes than the store takes at once."""

    shut_out = False


class VersionConflict(StoreError):
    """`what` (`session` or `update`) is at another version than the writer had read; nothing was written."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is at another version")
        self.what = what


class StoreMeter(Protocol):
    """Counts what an actor's store calls cost; an adapter tells it of each call that left the process."""

    def read(self, documents: int) -> None:
        """One read call that gave `documents` documents."""

    def write(self, documents: int) -> None:
        """One write call that touched `documents` documents."""


class UpdateRecord(Value, frozen=True, kw_only=True):
    """`updates/{bot}:{update}`: an accepted update and its turn. `body` is a msgpack TurnRecord, opaque to stores.

    `open` says that the turn has no end yet. `version` grows with each write of the document (0: not
    stored). `accepted_at` is store time in Unix seconds; the store sets it.
    """

    bot: int
    update: int
    chat: int
    shard: int
    state: TurnState
    open: bool
    reason: str = ""
    body: bytes = b""
    version: int = 0
    accepted_at: float = 0.0

    @property
    def key(self) -> str:
        """The document's id."""
        return f"{self.bot}:{self.update}"


class Stray(Value, frozen=True, kw_only=True):
    """An update without an end as far as a look for such ones needs it: whose it is, and of which shard."""

    bot: int
    update: int
    chat: int
    shard: int

    @property
    def key(self) -> str:
        """The document's id."""
        return f"{self.bot}:{self.update}"


class SessionRecord(Value, frozen=True, kw_only=True):
    """`telegram_sessions/{chat}`: `body` is a msgpack Session, opaque to stores, empty in a tombstone.

    `version` as in UpdateRecord; `updated_at` is store time in Unix seconds, set by the store at each write.
    `revision` is the store's, too: another number after each write, told with every append and turn written,
    so that a container learns without a read that its session is outdated. 0: never written.
    """

    chat: int
    shard: int
    body: bytes = b""
    version: int = 0
    updated_at: float = 0.0
    revision: int = 0


class LeaseRecord(Value, frozen=True, kw_only=True):
    """Who works on the chat's first turn: `age_s` is how long ago, in store time, it was renewed.

    `wait_s` is how long from now on nothing may be sent to the chat, by whomever (negative: that is over for so
    long; 0: never told). What is written without a wait leaves the stored one alone: it may come late. No `owner`:
    the turn was handed back, and `attempt` is how many attempts count.
    """

    lease: str
    owner: str
    update_key: str
    attempt: int = 1
    age_s: float = 0.0
    wait_s: float = 0.0


class Appended(Value, frozen=True, kw_only=True):
    """The outcome of an append, with the session's `revision`. Not created: it was there, nothing was written."""

    created: bool
    version: int = 0
    waiting: int = 0
    revision: int = 0


class ChatState(Value, frozen=True, kw_only=True):
    """All that the store has of a chat: session or None, open updates in arrival order, the lease."""

    session: SessionRecord | None = None
    open_updates: tuple[UpdateRecord, ...] = ()
    lease: LeaseRecord | None = None
    set_aside: tuple[SetAside, ...] = ()


class SessionBatch(Value, frozen=True, kw_only=True):
    """Sessions of one query, newest first, and the documents that could not be read as one."""

    sessions: tuple[SessionRecord, ...] = ()
    set_aside: tuple[SetAside, ...] = ()


class TurnWrite(Value, frozen=True, kw_only=True):
    """What one atomic commit of a turn writes.

    `update` is written if the stored version equals `update.version`. `session` likewise (0: it must not
    exist yet); None leaves it alone. An update that is not `open` any more leaves the mailbox in the same
    commit and, with the mailbox, its lease. One that stays open renews `lease` at store time, so that a turn
    is never in the store without the lease of its owner; None leaves the stored one alone.
    `operation` names the write: repeated after a lost reply it succeeds again, while it is the update's newest.
    """

    operation: str
    update: UpdateRecord
    session: SessionRecord | None = None
    lease: LeaseRecord | None = None


class TurnWritten(Value, frozen=True, kw_only=True):
    """The new versions, how many open updates the chat has left, and its session's `revision`.

    `repeated`: it had been written before, perhaps by another container, whose session need not be this one's.
    A repeated write gives the versions that stand now. Of a session that was written again since it gives an
    older version, and another revision than the session's: what is learned from it is soon found outdated, and
    a write over it is a conflict.
    """

    update_version: int
    session_version: int = 0
    waiting: int = 0
    revision: int = 0
    repeated: bool = False


class SessionStore(Protocol):
    """Sessions, mailboxes and updates. Every method is one call with the adapter's deadline.

    All raise StoreDown or StoreDenied; the writes with versions raise VersionConflict as well.
    """

    async def append(self, record: UpdateRecord) -> Appended:
        """Create the update and, if it is open, append it to its chat's mailbox: one commit, no read before it."""

    async def append_all(self, records: Sequence[UpdateRecord]) -> Sequence[Appended | StoreError]:
        """Append each as `append` does, those of a chat in their order; gives an outcome for each, an error too.

        They share commits where the store can, and what spoils one spoils no other. Raises what hit all of them.
        """

    async def read_chat(self, chat: int) -> ChatState:
        """Read session, mailbox and lease of one chat."""

    async def read_chats(self, chats: Sequence[int]) -> Mapping[int, ChatState]:
        """Read what `read_chat` gives of up to a few hundred chats in one wave: each of them is in the answer."""

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        """Read the sessions of these chats in one parallel wave; absent ones are left out."""

    async def write_turn(self, write: TurnWrite) -> TurnWritten:
        """Write a step of a turn; raises VersionConflict naming what had moved."""

    async def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write a session if the stored version equals `session.version`; gives the new version."""

    async def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """Write the chat's lease, renewed at store time now (`age_s` is ignored); None gives it up, and leaves a wait.

        It is written beside the work, so that it may come late: of an update that has ended it changes nothing.
        """

    async def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        """Give the shard's most recently written sessions, newest first, without tombstones: one query."""

    async def open_updates(
        self, shard: int, limit: int, after: UpdateRecord | None = None
    ) -> Sequence[UpdateRecord]:
        """Give updates of the shard that have no end yet, oldest first; of those that came `after` another one."""

    async def find_updates(self, states: Sequence[TurnState], limit: int) -> Sequence[UpdateRecord]:
        """Give updates of any shard in one of these states, oldest first; for `doctor`."""

    async def open_shards(self, limit: int) -> Sequence[int]:
        """Give the shard of each of up to `limit` updates of any shard that have no end yet, in no order.

        One read that needs no index of its own and carries no bodies: it tells who has work without waking
        anybody. -1 stands for the shard of an update that can't be read.
        """

    async def strays(self, shards: int, limit: int, after: Stray | None = None) -> Sequence[Stray]:
        """Give up to `limit` updates of shards >= `shards` that have no end yet; of those that stand `after` another.

        There are such ones after the number of shards was lowered. They stand by their shards, and in a shard in an
        order that is the store's own and stays. What can't be read is left out.
        """

    async def erase_updates(self, chat: int) -> int:
        """Empty the bodies of the chat's ended updates; gives how many."""

    async def purge(self, limit: int) -> int:
        """Drop up to `limit` records past their expiry, where the store has no policy of its own; gives how many."""

    async def close(self) -> None:
        """Give connections back; idempotent."""


class StatsBatch(Value, frozen=True, kw_only=True):
    """Statistics by skill name; skills without a document are left out, unreadable documents are set aside."""

    stats: Mapping[str, SkillStats] = {}
    set_aside: tuple[SetAside, ...] = ()


class SkillRun(Value, frozen=True, kw_only=True):
    """One run of a skill to count; `run` is its id, at most 200 characters."""

    skill: str
    run: str
    succeeded: bool
    duration_ms: float


class SkillStatsStore(Protocol):
    """Run statistics of skills. Raises StoreDown or StoreDenied."""

    async def read_stats(self, skills: Sequence[str]) -> StatsBatch:
        """Read the statistics of these skills in one parallel wave (chunks of 250)."""

    async def record_run(self, run: SkillRun) -> None:
        """Count a run by atomic increments; the same run id twice counts once."""

    async def close(self) -> None:
        """Give connections back; idempotent."""
