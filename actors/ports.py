"""What the actors ask of the world; adapters stand in `app/`, fakes in `tests/`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from contracts.base import Value
from contracts.skills import SetAside, SkillStats, SkillSummary
from contracts.turns import Button, ChatMessage, Chunk, Entity, ToolCall, TurnState

T = TypeVar("T")

# ---------------------------------------------------------------- stores


class StoreError(Exception):
    """The store did not do what was asked.

    StoreError
    ├── StoreDown        retry      unavailable, past its deadline, contended; a write may have happened
    ├── StoreDenied      no retry   permission, a missing index, a request that the store refuses
    │   └── StoreTooLarge               for its size: a smaller one would do
    └── VersionConflict  no retry   the document is at another version: reload, reapply once
    """

    retry = False


class StoreDown(StoreError):
    """Nothing answered in time, or the store is overloaded; asking again can help."""

    retry = True


class StoreDenied(StoreError):
    """The store said no; only an operator can change that."""


class StoreTooLarge(StoreDenied):
    """The request has more bytes than the store takes at once."""


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
    """Who works on the chat's first turn: `age_s` is how long ago, in store time, it was renewed."""

    lease: str
    owner: str
    update_key: str
    attempt: int = 1
    age_s: float = 0.0


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

    A repeated write gives the versions that stand now. Of a session that was written again since it gives an
    older version, and another revision than the session's: what is learned from it is soon found outdated, and
    a write over it is a conflict.
    """

    update_version: int
    session_version: int = 0
    waiting: int = 0
    revision: int = 0


class SessionStore(Protocol):
    """Sessions, mailboxes and updates. Every method is one call with the adapter's deadline.

    All raise StoreDown or StoreDenied; the writes with versions raise VersionConflict as well.
    """

    async def append(self, record: UpdateRecord) -> Appended:
        """Create the update and, if it is open, append it to its chat's mailbox: one commit, no read before it."""

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
        """Write the chat's lease, renewed at store time now (`age_s` is ignored); None gives it up.

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


# ---------------------------------------------------------------- skill files


class SkillFile(Value, frozen=True, kw_only=True):
    """One parsed skill file; `folder` is the name of its folder, `path` relative to the skills folder."""

    summary: SkillSummary
    folder: str
    body: str = ""
    memory: str = ""
    error_history: str = ""
    resources: tuple[str, ...] = ()
    digest: str = ""


class Recovered(Value, frozen=True, kw_only=True):
    """A file that was loaded although it breaks the format; `lossy` if some of it was guessed or left out."""

    file: str
    reason: str
    lossy: bool = False


class SkillScan(Value, frozen=True, kw_only=True):
    """All readable skills by name in stable order, every file set aside, and what was repaired in the others."""

    skills: tuple[SkillFile, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    recovered: tuple[Recovered, ...] = ()


class ResourceUnavailable(Exception):
    """The file beside a skill is absent, too large, unreadable, or outside of the skill's folder."""


class SkillFiles(Protocol):
    """The folder of skill files."""

    async def scan(self) -> SkillScan:
        """Read every skill file, off the event loop; one bad file spoils no other."""

    async def read_resource(self, skill_path: str, resource: str) -> bytes:
        """Read a file beside the skill file at `skill_path`; raises ResourceUnavailable."""


# ---------------------------------------------------------------- Telegram, outbound


class TelegramError(Exception):
    """A Bot API call did not succeed.

    TelegramError
    ├── NotSent          retry      surely not sent: 429, 5xx, connection not made; `retry_after_s` if known
    ├── MaybeSent        no retry   written and no answer came: may or may not have happened
    ├── TextRefused      no retry   entities can't be parsed or the text is too long: send it plainer
    ├── ChatGone         no retry   blocked, chat not found, kicked: this chat is dead
    ├── TokenRefused     no retry   401 or 404 of the token: stop and alarm
    └── CallRefused      no retry   any other refusal
    """


class NotSent(TelegramError):
    """Surely not sent; try again after `retry_after_s` (0: no hint)."""

    def __init__(self, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class MaybeSent(TelegramError):
    """The request was written and no answer came."""


class TextRefused(TelegramError):
    """The text or its entities were refused."""


class ChatGone(TelegramError):
    """The chat can't be written to any more; `migrate_to` is the supergroup that it became (0: none)."""

    def __init__(self, detail: str, migrate_to: int = 0) -> None:
        super().__init__(detail)
        self.migrate_to = migrate_to


class TokenRefused(TelegramError):
    """The bot's token is not valid any more."""


class CallRefused(TelegramError):
    """The call was refused for a reason of its own."""


class Telegram(Protocol):
    """The Bot API calls that a turn makes; every call has a deadline. Raises TelegramError."""

    async def connect(self) -> None:
        """Open and prove a connection (`getMe`), so that the first reply does not pay for it."""

    async def send_message(
        self, chat: int, text: str, entities: Sequence[Entity] = (), buttons: Sequence[Button] = ()
    ) -> int:
        """Send one message (`sendMessage`); gives its message id."""

    async def send_typing(self, chat: int) -> None:
        """Show that an answer is being written (`sendChatAction`), for at most 5 s."""

    async def close(self) -> None:
        """Give connections back; idempotent."""


class Renderer(Protocol):
    """Markdown to Telegram messages."""

    def render(self, markdown: str) -> tuple[Chunk, ...]:
        """Give the planned chunks of a reply in order: at least one, each within Telegram's limits."""


# ---------------------------------------------------------------- model


class ModelError(Exception):
    """The model gave no answer; `notice` is one line for the user, `retry` says whether asking again can help."""

    def __init__(self, detail: str, *, notice: str, retry: bool, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.notice = notice
        self.retry = retry
        self.retry_after_s = retry_after_s


class ToolSpec(Value, frozen=True, kw_only=True):
    """A tool that a model may call; `schema` is a JSON Schema object as text."""

    name: str
    description: str
    schema: str = '{"type": "object"}'


class Prompt(Value, frozen=True, kw_only=True):
    """What a model is asked. `system` is the stable prefix (catalog included), `skill_body` the chosen skill's text.

    `catalog` names the skills for a model that reads no prose; the others have it in `system`.
    """

    system: str
    messages: tuple[ChatMessage, ...]
    mode: str = "normal"
    skill_name: str = ""
    skill_body: str = ""
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int = 2048
    catalog: tuple[SkillSummary, ...] = ()


class Completion(Value, frozen=True, kw_only=True):
    """A model's whole answer. `stop` is `end`, `length`, `tools` or `refusal`; tokens as the model counts them."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    stop: str = "end"
    input_tokens: int = 0
    output_tokens: int = 0


class Model(Protocol):
    """A language model; adapters stream inside and keep an idle watchdog and a total budget."""

    name: str

    async def connect(self) -> None:
        """Open connections, so that the first turn does not pay for it; raises ModelError."""

    async def answer(self, prompt: Prompt) -> Completion:
        """Answer; raises ModelError."""

    async def close(self) -> None:
        """Give connections back; idempotent."""


# ---------------------------------------------------------------- time, chance, work beside


class Clock(Protocol):
    """Time. `monotonic_s` for TTLs and leases in memory; `unix_s` only to show to people."""

    def monotonic_s(self) -> float:
        """Seconds that never go backwards."""

    def unix_s(self) -> float:
        """Seconds since 1970 by this machine's clock, which may be wrong."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Chance(Protocol):
    """Randomness."""

    def token(self) -> str:
        """A new id, unique in practice (at least 96 random bits)."""

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""


class Background(Protocol):
    """Work beside the requests: held, bounded, its failures logged, waited for at the end."""

    def spawn(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` beside the caller; `name` stands in the log when it fails."""

    async def compute(self, work: Callable[[], T]) -> T:
        """Give what `work` gives, which takes milliseconds of CPU, while the event loop goes on. Raises as it does."""

    async def drain(self, deadline_s: float) -> int:
        """Wait for what runs, cancel what is left at the deadline; gives how many were cancelled."""


# ---------------------------------------------------------------- transport


class Transport(Protocol):
    """Carries frames to one actor (one shard of it). Raises Unreachable with the reason."""

    async def ask(self, frame: bytes) -> bytes:
        """Give the reply's frame."""

    async def tell(self, frame: bytes) -> None:
        """Hand the frame over and return when it is queued; nobody waits for the reply."""

    async def warm(self, frame: bytes = b"") -> bytes:
        """Give the frame of a WarmReport."""

    async def stats(self) -> bytes:
        """Give the frame of an ActorStats."""


class Unreachable(Exception):
    """The actor did not answer in time; the message may or may not have been handled."""
