"""The parts of a turn that several messages carry: the update, the conversation, the reply's chunks."""

from typing import Literal

from contracts.base import Value

Verdict = Literal["queue", "ignored", "refused", "quarantined"]
TurnState = Literal[
    "accepted", "committed", "answered", "ignored", "refused", "quarantined", "dead_lettered", "unknown"
]
ChunkState = Literal["planned", "sending", "sent", "unknown", "failed"]


class Incoming(Value, frozen=True, kw_only=True):
    """What a turn needs of a Telegram update (Bot API `Update`); texts in full, ids as Telegram gives them.

    Of a callback query, `callback` is its id and `text` the data of the button. `sent_at` is a Unix time in seconds.
    `thread` is the forum topic that it was said in, where the reply goes; 0 outside of one.
    """

    kind: str
    chat: int = 0
    chat_type: str = "private"
    user: int = 0
    user_name: str = ""
    message: int = 0
    text: str = ""
    callback: str = ""
    migrate_to: int = 0
    sent_at: int = 0
    thread: int = 0


class ToolCall(Value, frozen=True, kw_only=True):
    """A model's wish to use a tool; `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str = "{}"


class ToolResult(Value, frozen=True, kw_only=True):
    """The answer to the tool call of the same id."""

    id: str
    content: str = ""
    failed: bool = False


class ChatMessage(Value, frozen=True, kw_only=True):
    """One message of a conversation; a user message may carry tool results, an assistant's tool calls."""

    role: Literal["user", "assistant"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()


class Session(Value, frozen=True, kw_only=True):
    """A chat's session with its bounded conversation; `created_at` is a Unix time in seconds."""

    chat: int
    user: int = 0
    mode: str = "normal"
    turns: int = 0
    created_at: float = 0.0
    last_skill: str = ""
    dead: bool = False
    messages: tuple[ChatMessage, ...] = ()


class Entity(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A Bot API `MessageEntity`; offset and length count UTF-16 code units."""

    type: str
    offset: int
    length: int
    url: str | None = None
    language: str | None = None


class Button(Value, frozen=True, kw_only=True):
    """A button under a message; `data` comes back in a callback query (1 to 64 bytes)."""

    text: str
    data: str


class Chunk(Value, frozen=True, kw_only=True):
    """One `sendMessage` of a reply: 1 to 4096 UTF-16 units of text, and how far its sending got."""

    text: str
    entities: tuple[Entity, ...] = ()
    buttons: tuple[Button, ...] = ()
    state: ChunkState = "planned"
    message: int = 0
    reason: str = ""
