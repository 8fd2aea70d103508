"""What goes out with each method of the Bot API, and what is read of its result."""

from typing import Final

import msgspec

from app.telegram.wire import UpdateId
from contracts.turns import Button, Entity

_encoder: Final = msgspec.json.Encoder()


class BotCommand(msgspec.Struct, frozen=True):
    """A `BotCommand` of the menu: 1 to 32 of `a-z0-9_`, and up to 256 characters about it."""

    command: str
    description: str


class WebhookInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A `WebhookInfo`; `last_error_date` is a Unix time in seconds, 0 when nothing failed."""

    url: str = ""
    pending_update_count: int = 0
    last_error_date: int = 0
    last_error_message: str = ""
    max_connections: int = 0
    allowed_updates: tuple[str, ...] = ()


class Polled(msgspec.Struct, frozen=True):
    """An update fetched by long polling; `body` is its JSON, as a webhook would have brought it."""

    update_id: int
    body: bytes


class Key(msgspec.Struct):
    """An `InlineKeyboardButton`."""

    text: str
    callback_data: str


class Keyboard(msgspec.Struct):
    """An `InlineKeyboardMarkup`."""

    inline_keyboard: list[list[Key]]

    @classmethod
    def of(cls, buttons: tuple[Button, ...]) -> "Keyboard | None":
        """Put one button in a row, so that none is cut on a phone."""
        return cls([[Key(button.text, button.data)] for button in buttons]) if buttons else None


class SendMessage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Parameters of `sendMessage`."""

    chat_id: int
    text: str
    entities: tuple[Entity, ...] = ()
    reply_markup: Keyboard | None = None
    message_thread_id: int | msgspec.UnsetType = msgspec.UNSET


class SendChatAction(msgspec.Struct):
    """Parameters of `sendChatAction`."""

    chat_id: int
    action: str = "typing"
    message_thread_id: int | msgspec.UnsetType = msgspec.UNSET


class AnswerCallbackQuery(msgspec.Struct, omit_defaults=True):
    """Parameters of `answerCallbackQuery`."""

    callback_query_id: str
    text: str = ""


class SetWebhook(msgspec.Struct, kw_only=True):
    """Parameters of `setWebhook`."""

    url: str
    secret_token: str
    max_connections: int
    drop_pending_updates: bool
    allowed_updates: tuple[str, ...]


class DeleteWebhook(msgspec.Struct):
    """Parameters of `deleteWebhook`."""

    drop_pending_updates: bool


class SetMyCommands(msgspec.Struct):
    """Parameters of `setMyCommands`."""

    commands: tuple[BotCommand, ...]


class GetUpdates(msgspec.Struct, kw_only=True):
    """Parameters of `getUpdates`; `timeout` in seconds."""

    offset: int
    timeout: int
    limit: int
    allowed_updates: tuple[str, ...]


class Me(msgspec.Struct):
    """The `User` of `getMe`."""

    id: int
    username: str = ""


class Sent(msgspec.Struct):
    """The `Message` of `sendMessage`."""

    message_id: int


class _Numbered(msgspec.Struct):
    update_id: UpdateId


read_me = msgspec.json.Decoder(Me).decode
read_sent = msgspec.json.Decoder(Sent).decode
read_done = msgspec.json.Decoder(bool).decode
read_webhook_info = msgspec.json.Decoder(WebhookInfo).decode
_read_updates = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode
_read_numbered = msgspec.json.Decoder(_Numbered).decode


def read_polled(result: msgspec.Raw) -> tuple[Polled, ...]:
    """Read the result of `getUpdates`, leaving each update as it is."""
    return tuple(Polled(_read_numbered(raw).update_id, bytes(raw)) for raw in _read_updates(result))


def encode(params: msgspec.Struct | None) -> bytes:
    """Give the request's JSON; raises UnicodeEncodeError for half a surrogate pair."""
    return _encoder.encode(params) if params is not None else b"{}"
