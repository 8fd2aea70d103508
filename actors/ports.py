"""What the actors ask of the world, its stores apart (`actors.stores`); adapters stand in `app/`, fakes in `tests/`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from contracts.base import Value
from contracts.skills import SetAside, SkillSummary
from contracts.turns import Button, ChatMessage, Chunk, Entity, ToolCall

T = TypeVar("T")

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
        """Read a file beside the skill file at `skill_path`, none hidden; raises ResourceUnavailable."""


# ---------------------------------------------------------------- Telegram, outbound


class TelegramError(Exception):
    """A Bot API call did not succeed.

    TelegramError
    ├── NotSent          retry      surely not sent: 429, 5xx, connection not made; `retry_after_s` if known
    ├── MaybeSent        no retry   written and no answer came: may or may not have happened
    ├── TextRefused      no retry   entities can't be parsed, or the text is none: send it plainer
    │   └── TextTooLong  no retry   send it in smaller pieces
    ├── ThreadGone       no retry   the chat has no such topic: send it outside of it
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


class TextTooLong(TextRefused):
    """The text is longer than Telegram takes."""


class ThreadGone(TelegramError):
    """The chat has no such forum topic, or no more."""


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
        self,
        chat: int,
        text: str,
        entities: Sequence[Entity] = (),
        buttons: Sequence[Button] = (),
        *,
        thread: int = 0,
    ) -> int:
        """Send one message (`sendMessage`), into the forum topic `thread` (0: none); gives its message id."""

    async def send_typing(self, chat: int, *, thread: int = 0) -> None:
        """Show that an answer is being written (`sendChatAction`), for at most 5 s."""

    async def close(self) -> None:
        """Give connections back; idempotent."""


class Renderer(Protocol):
    """Markdown to Telegram messages."""

    def render(self, markdown: str) -> tuple[Chunk, ...]:
        """Give the planned chunks of a reply in order: at least one, each within Telegram's limits."""

    def halve(self, chunk: Chunk, /) -> tuple[Chunk, ...]:
        """Give a chunk that is too long in planned pieces, all of it in order; none when it is short already."""


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


COARSE_S: Final = 0.1
"""How far `coarse_s` may lag behind, beside what the event loop itself is late: little against any time to live."""


class Monotonic(Protocol):
    """Time that never goes backwards, in seconds: exactly, and for next to nothing."""

    def monotonic_s(self) -> float:
        """The seconds of this moment."""

    @property
    def coarse_s(self) -> float:
        """Those of a moment ago, by at most COARSE_S; infinity while nobody renews them."""
        return self.monotonic_s()


class Clock(Monotonic, Protocol):
    """Time. `monotonic_s` for TTLs and leases in memory; `unix_s` only to show to people."""

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
