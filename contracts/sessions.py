"""What is said to and by a SessionCacheActor."""

from typing import Annotated, Final

import msgspec

from contracts.base import Message, Value
from contracts.faults import AnyFault
from contracts.turns import ChatMessage, Chunk, ChunkState, Incoming, Session, TurnState, Verdict

ACCEPTS_MOST: Final = 256
"""Updates in one AcceptUpdates, so that a shard answers a few at a time and the store commits them at once."""


class AcceptUpdate(Message, frozen=True, kw_only=True, tag="update.accept"):
    """Make an update durable, once; with verdict `queue` it waits in its chat's mailbox for a turn."""

    bot: int
    update: int
    incoming: Incoming
    verdict: Verdict = "queue"
    reason: str = ""
    raw: bytes = b""


class UpdateAccepted(Message, frozen=True, kw_only=True, tag="update.accepted"):
    """The update is durable; `waiting` counts the chat's updates without an end, this one included."""

    waiting: int = 0


class UpdateDuplicate(Message, frozen=True, kw_only=True, tag="update.duplicate"):
    """The update had been accepted before; nothing was written."""


class AcceptUpdates(Message, frozen=True, kw_only=True, tag="updates.accept"):
    """Do with each of the updates what AcceptUpdate does, in their order; what becomes of one is no other's matter."""

    updates: Annotated[tuple[AcceptUpdate, ...], msgspec.Meta(max_length=ACCEPTS_MOST)]


AcceptReply = UpdateAccepted | UpdateDuplicate | AnyFault
"""What became of one update."""


class UpdatesAccepted(Message, frozen=True, kw_only=True, tag="updates.accepted"):
    """What became of each of the updates, in their order: what AcceptUpdate alone would have been answered."""

    results: tuple[AcceptReply, ...] = ()


class ClaimTurn(Message, frozen=True, kw_only=True, tag="turn.claim"):
    """Lease the chat's next turn to `owner`.

    `bot` and `update` name the update that caused it (0: none), or that the caller is through with, if `done`.
    """

    chat: int
    owner: str
    bot: int = 0
    update: int = 0
    done: bool = False


class TurnClaimed(Message, frozen=True, kw_only=True, tag="turn.claimed"):
    """The caller owns this turn until the lease runs out; `attempt` counts from 1.

    `gave_up` says why the turn is not worked on again: commit a notice as `dead_lettered`, and do nothing else.
    """

    chat: int
    bot: int
    update: int
    lease: str
    incoming: Incoming
    session: Session
    version: int = 0
    attempt: int = 1
    lease_s: float = 15.0
    gave_up: str = ""


class OutboxClaimed(Message, frozen=True, kw_only=True, tag="turn.outbox_claimed"):
    """A committed turn whose reply is not fully delivered: send the chunks that are still planned.

    `thread` is that of its Incoming.
    """

    chat: int
    bot: int
    update: int
    lease: str
    chunks: tuple[Chunk, ...]
    lease_s: float = 15.0
    thread: int = 0


class TurnHeld(Message, frozen=True, kw_only=True, tag="turn.held"):
    """Another owner runs the chat's turn and will go on to the next; look again after `retry_after_s`."""

    chat: int
    retry_after_s: float = 0.0


class NothingWaiting(Message, frozen=True, kw_only=True, tag="turn.none"):
    """The chat's mailbox is empty."""

    chat: int


class RenewLease(Message, frozen=True, kw_only=True, tag="lease.renew"):
    """Keep the turn; say it every few seconds while working."""

    chat: int
    lease: str


class LeaseRenewed(Message, frozen=True, kw_only=True, tag="lease.renewed"):
    """The lease holds for another `lease_s` seconds."""

    lease_s: float = 15.0


class ReleaseTurn(Message, frozen=True, kw_only=True, tag="turn.release"):
    """Hand the turn back unfinished; another owner can take it after `retry_after_s`.

    `stopping`: the owner's container ends, so that this counts as no attempt at the turn. `unsent`: of a reply that
    may have been committed under this lease nothing was sent, and nothing will be.
    """

    chat: int
    lease: str
    retry_after_s: float = 0.0
    stopping: bool = False
    unsent: bool = False


class TurnReleased(Message, frozen=True, kw_only=True, tag="turn.released"):
    """The turn waits again."""


class SessionPatch(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of a session to change; what is not named keeps its value."""

    mode: str | msgspec.UnsetType = msgspec.UNSET
    user: int | msgspec.UnsetType = msgspec.UNSET
    last_skill: str | msgspec.UnsetType = msgspec.UNSET
    dead: bool | msgspec.UnsetType = msgspec.UNSET


class CommitTurn(Message, frozen=True, kw_only=True, tag="turn.commit"):
    """Write session, turn and outbox in one atomic step; the same lease twice commits once.

    `append` is added to the conversation, after it is emptied when `clear` is set; `forget` erases the
    chat's session and texts instead. No chunks: the turn ends here with `outcome` and `reason`. Chunks with
    the outcome `dead_lettered` are a notice and no answer: that is what the turn ends as when they are through.
    """

    chat: int
    bot: int
    update: int
    lease: str
    append: tuple[ChatMessage, ...] = ()
    patch: SessionPatch = SessionPatch()
    clear: bool = False
    forget: bool = False
    chunks: tuple[Chunk, ...] = ()
    outcome: TurnState = "answered"
    reason: str = ""


class TurnCommitted(Message, frozen=True, kw_only=True, tag="turn.committed"):
    """The turn is durable; its first chunk is marked `sending`, so send it now. `waiting` as in UpdateAccepted."""

    version: int = 0
    chunks: tuple[Chunk, ...] = ()
    waiting: int = 0


class MarkDelivered(Message, frozen=True, kw_only=True, tag="chunk.delivered"):
    """Record what became of chunk `index`; `planned` means surely not sent, try again later.

    With it, `reason` says what failed (empty: nothing was tried), and nothing may be sent to the chat for
    `retry_after_s`, whoever owns the turn then.
    """

    chat: int
    bot: int
    update: int
    lease: str
    index: int
    state: ChunkState = "sent"
    message: int = 0
    reason: str = ""
    retry_after_s: float = 0.0


class DeliveryRecorded(Message, frozen=True, kw_only=True, tag="chunk.recorded"):
    """Durable; `next` is the index now marked `sending`, or -1 when there is none. `waiting` as above.

    `unsent_s` is how long the turn's messages have surely not been sent by now.
    """

    next: int = -1
    ended: bool = False
    waiting: int = 0
    unsent_s: float = 0.0


class BeginSending(Message, frozen=True, kw_only=True, tag="chunk.begin"):
    """Mark a planned chunk `sending`, before it is sent again."""

    chat: int
    bot: int
    update: int
    lease: str
    index: int


class SplitChunk(Message, frozen=True, kw_only=True, tag="chunk.split"):
    """Put `pieces`, all planned, in the place of chunk `index`, which Telegram refused as too long.

    The first one is marked `sending` in the same step, so send it now; twice is as once.
    """

    chat: int
    bot: int
    update: int
    lease: str
    index: int
    pieces: tuple[Chunk, ...]


class LoadSession(Message, frozen=True, kw_only=True, tag="session.load"):
    """Give the chat's session and how many updates wait."""

    chat: int


class SessionLoaded(Message, frozen=True, kw_only=True, tag="session.loaded"):
    """The session as last durably written or read; `version` 0 and a default session when there is none."""

    session: Session
    version: int = 0
    waiting: int = 0


class PatchSession(Message, frozen=True, kw_only=True, tag="session.patch"):
    """Change the named fields of a session and keep every other, also on a cold cache."""

    chat: int
    patch: SessionPatch


class ClearConversation(Message, frozen=True, kw_only=True, tag="session.clear"):
    """Empty the conversation and keep the session."""

    chat: int


class ForgetChat(Message, frozen=True, kw_only=True, tag="session.forget"):
    """Erase the chat's session and the texts of its updates; the ids stay, so that nothing runs twice."""

    chat: int


class AdoptSession(Message, frozen=True, kw_only=True, tag="session.adopt"):
    """Give a chat the session of the chat it grew out of (Bot API `migrate_to_chat_id`); twice is as once.

    What it has of its own by then comes after that.
    """

    chat: int
    session: Session


class SessionSaved(Message, frozen=True, kw_only=True, tag="session.saved"):
    """The session is durable at `version`."""

    version: int


class SweepTurns(Message, frozen=True, kw_only=True, tag="turns.sweep"):
    """List the shard's chats whose turns wait without a living owner."""


class TurnsStranded(Message, frozen=True, kw_only=True, tag="turns.stranded"):
    """Chats to take a turn in, longest waiting first; `updates` are the turns, in the same order, by bot and id."""

    chats: tuple[int, ...] = ()
    updates: tuple[tuple[int, int], ...] = ()


SessionRequest = (
    AcceptUpdate
    | AcceptUpdates
    | ClaimTurn
    | RenewLease
    | ReleaseTurn
    | CommitTurn
    | MarkDelivered
    | BeginSending
    | SplitChunk
    | LoadSession
    | PatchSession
    | ClearConversation
    | ForgetChat
    | AdoptSession
    | SweepTurns
)
SessionReply = (
    UpdateAccepted
    | UpdateDuplicate
    | UpdatesAccepted
    | TurnClaimed
    | OutboxClaimed
    | TurnHeld
    | NothingWaiting
    | LeaseRenewed
    | TurnReleased
    | TurnCommitted
    | DeliveryRecorded
    | SessionLoaded
    | SessionSaved
    | TurnsStranded
    | AnyFault
)
