"""Reads the updates that Telegram delivers and says what is to be done with each."""

import hashlib
from collections.abc import Collection
from typing import Final

import msgspec

from app.telegram.addressing import BotIdentity, IdentityNeeded, addresses_bot
from app.telegram.kinds import KINDS, MEDIA
from app.telegram.wire import (
    CallbackQuery,
    Elsewhere,
    Envelope,
    Message,
    User,
    fields_of,
    read_callback,
    read_elsewhere,
    read_envelope,
    read_message,
)
from contracts.codec import UNREADABLE
from contracts.turns import Incoming, Verdict

__all__ = [
    "BotIdentity",
    "IdentityNeeded",
    "Intake",
    "Unreadable",
    "allowed",
    "classify",
    "quarantine_id",
]

_BOM: Final = b"\xef\xbb\xbf"
ANONYMOUS_ADMIN: Final = (
    1087968824  # Bot API `Message.from`: GroupAnonymousBot stands in for a group's admins
)
_CALLBACK_BYTES: Final = 64  # Bot API `InlineKeyboardButton.callback_data`


class Unreadable(Exception):
    """A body without a usable update id; `reason` is one of kinds.UNREADABLE_REASONS. A retry can't help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with an update: accept it with this verdict, for this reason."""

    update_id: int
    incoming: Incoming
    verdict: Verdict = "queue"
    reason: str = ""


def classify(body: bytes, identity: BotIdentity | None) -> Intake:
    """Read a webhook body and judge it, in about 5 us for a plain message.

    Ids must fit 64 bits. Of a key given twice the last counts, as in most JSON readers. A body with a byte
    order mark is refused, as RFC 8259 (8.1) allows: Telegram sends none. An update whose id is readable
    and whose used parts are not has the verdict `quarantined`. `refused` is never given here: see `allowed`.

    Raises Unreadable, and IdentityNeeded when a group's message can't be judged before `getMe` was answered.
    """
    update_id, envelope = _open(body)
    try:
        return _judge(update_id, envelope, identity) or _other_kind(update_id, body)
    except UNREADABLE:
        kind = "message" if envelope.message else "callback_query"
        incoming = Incoming(kind=kind)
        return Intake(update_id=update_id, incoming=incoming, verdict="quarantined", reason="bad_content")


def allowed(incoming: Incoming, ids: Collection[int] | None) -> bool:
    """Tell whether the sender may use the bot: anyone when `ids` is None, else the users listed."""
    return ids is None or incoming.user in ids


def quarantine_id(body: bytes) -> int:
    """Give a body without an update id one of its own: negative, 64 bits, the same for the same bytes."""
    digest = hashlib.blake2b(body, digest_size=8).digest()
    return -1 - (int.from_bytes(digest, "big") >> 1)


# ---------------------------------------------------------------- the envelope


def _open(body: bytes) -> tuple[int, Envelope]:
    try:
        envelope = read_envelope(body)
    except UNREADABLE as error:
        raise Unreadable(_why_unreadable(body, error)) from error
    if envelope.update_id is msgspec.UNSET:
        raise Unreadable("no_update_id")
    return envelope.update_id, envelope


def _why_unreadable(body: bytes, error: Exception) -> str:
    content = body.strip()
    if not content:
        return "empty"
    if content.startswith(_BOM):
        return "bom"
    if isinstance(error, RecursionError):
        return "too_deep"
    if not isinstance(error, msgspec.ValidationError):
        return "not_json"
    return "bad_update_id" if content.startswith(b"{") else "not_object"


def _judge(update_id: int, envelope: Envelope, identity: BotIdentity | None) -> Intake | None:
    if envelope.message and (message := read_message(envelope.message)) is not None:
        return _judge_message(update_id, envelope, message, identity)
    if envelope.callback_query and (query := read_callback(envelope.callback_query)) is not None:
        return _judge_callback(update_id, query)
    return None


# ---------------------------------------------------------------- messages


def _judge_message(
    update_id: int, envelope: Envelope, message: Message, identity: BotIdentity | None
) -> Intake:
    incoming = _incoming(message)
    reason = _why_ignored(envelope, message, identity)
    verdict: Verdict = "ignored" if reason else "queue"
    return Intake(update_id=update_id, incoming=incoming, verdict=verdict, reason=reason)


def _incoming(message: Message) -> Incoming:
    sender = message.sender
    return Incoming(
        kind="message",
        chat=message.chat.id,
        chat_type=message.chat.type,
        user=sender.id if sender else 0,
        user_name=_name(sender),
        message=message.message_id,
        text=message.words,
        migrate_to=message.migrate_to_chat_id or 0,
        sent_at=message.date,
        thread=message.topic,
    )


def _why_ignored(envelope: Envelope, message: Message, identity: BotIdentity | None) -> str:
    if message.migrate_to_chat_id:  # said by whoever made the group a supergroup, also by a bot
        return ""
    if message.chat.type == "channel":
        return "channel"
    if message.sender is None:
        return "no_sender"
    if message.sender.is_bot and message.sender.id != ANONYMOUS_ADMIN:
        return "from_bot"
    if not message.words:
        return "media" if MEDIA & fields_of(envelope.message).keys() else "no_text"
    return _why_not_for_us(message, identity)


def _why_not_for_us(message: Message, identity: BotIdentity | None) -> str:
    match message.chat.type:
        case "private":
            return ""
        case "group" | "supergroup":
            return "" if addresses_bot(message, identity) else "not_addressed"
        case _:
            return "unknown"


def _name(user: User | None) -> str:
    return (user.first_name or user.username or "") if user else ""


# ---------------------------------------------------------------- buttons


def _judge_callback(update_id: int, query: CallbackQuery) -> Intake:
    reason = _why_callback_ignored(query)
    verdict: Verdict = "ignored" if reason else "queue"
    return Intake(update_id=update_id, incoming=_pressed(query, reason), verdict=verdict, reason=reason)


def _pressed(query: CallbackQuery, reason: str) -> Incoming:
    """Give the query's id as `callback` and the button's data as `text`; data that is not ours is left out."""
    message = query.message
    return Incoming(
        kind="callback_query",
        chat=message.chat.id if message else 0,
        chat_type=message.chat.type if message else "",
        user=query.sender.id,
        user_name=_name(query.sender),
        message=message.message_id if message else 0,
        text="" if reason else query.data or "",
        callback=query.id,
        thread=message.topic if message else 0,
    )


def _why_callback_ignored(query: CallbackQuery) -> str:
    if query.message is None:
        return "no_chat"
    if not query.data or len(query.data.encode()) > _CALLBACK_BYTES:
        return "callback_data"
    return ""


# ---------------------------------------------------------------- every other kind


def _other_kind(update_id: int, body: bytes) -> Intake:
    kind, content = _kind_of(body)
    place = _place_of(content)
    user = place.sender or place.user
    incoming = Incoming(
        kind=kind,
        chat=place.chat.id if place.chat else 0,
        chat_type=place.chat.type if place.chat else "",
        user=user.id if user else 0,
        user_name=_name(user),
    )
    return Intake(update_id=update_id, incoming=incoming, verdict="ignored", reason=kind)


def _kind_of(body: bytes) -> tuple[str, msgspec.Raw]:
    try:
        fields = fields_of(body)
    except UNREADABLE:  # a name that is no UTF-8: nothing that we could know
        return "unknown", msgspec.Raw()
    return next(((kind, raw) for kind, raw in fields.items() if kind in KINDS), ("unknown", msgspec.Raw()))


def _place_of(content: msgspec.Raw) -> Elsewhere:
    try:
        return read_elsewhere(content)
    except UNREADABLE:  # a kind that we ignore may look as it likes: it has no chat then
        return Elsewhere()
