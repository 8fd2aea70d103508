"""What an answer of the Bot API means: the result that it carries, or the error of the port's tree.

HTTP status, `error_code`, description                  error
429, any 5xx with `{"ok": false}`                       NotSent (Bot API: the call had no effect)
429, 500 to 503 without a readable `{"ok": ...}`        NotSent (the server's own failure, or it reached no other)
2xx, 504, a rarer 5xx without a readable `{"ok": ...}`  MaybeSent (a cut answer, or none in a gateway's time)
401, whatever it says; 404 "Not Found"                  TokenRefused
3xx, another 4xx without a readable `{"ok": ...}`       NotSent (a proxy's own refusal: the Bot API answers in JSON)
403; 400 chat not found, deactivated, upgraded, kicked  ChatGone
400 entities, empty text                                TextRefused
400 text too long                                       TextTooLong
400 message thread not found                            ThreadGone
anything else                                           CallRefused
"""

from typing import Final

import msgspec

from actors.ports import (
    CallRefused,
    ChatGone,
    MaybeSent,
    NotSent,
    TelegramError,
    TextRefused,
    TextTooLong,
    ThreadGone,
    TokenRefused,
)
from contracts.codec import UNREADABLE

# Parts of descriptions, in lower case; the Bot API has no finer codes (telegram-bot-api, Client.cpp; tdlib).
_TEXT_REFUSED: Final = (
    "can't parse entities",
    "can't parse messageentity",
    "message text is empty",
    "text must be non-empty",
    "text must be encoded in utf-8",
    "entity_bounds_invalid",
    "entity beginning at utf-16 offset",
    "strings must be encoded in utf-8",
    "entities_too_long",
    "entity_textlink_url_invalid",
)
_TOO_LONG: Final = ("message is too long", "message_too_long")
_THREAD_GONE: Final = ("message thread not found", "topic_deleted")
_CHAT_GONE: Final = (
    "chat not found",
    "user not found",
    "user is deactivated",
    "chat was deactivated",
    "group chat was upgraded",
    "bot was kicked",
    "bot was blocked",
    "peer_id_invalid",
)
_DETAIL_CHARACTERS: Final = 200  # a line of a log


class Reply(msgspec.Struct, frozen=True):
    """What came over HTTP: the body is empty when it was cut off or too long; `retry_after_s` is the header's."""

    status: int
    body: bytes = b""
    retry_after_s: float = 0.0


class _Parameters(msgspec.Struct):
    retry_after: float = 0.0
    migrate_to_chat_id: int = 0


class _Answer(msgspec.Struct):
    ok: bool
    result: msgspec.Raw = msgspec.Raw()
    error_code: int = 0
    description: str = ""
    parameters: _Parameters | None = None


_read = msgspec.json.Decoder(_Answer).decode


def result_of(method: str, reply: Reply, secret: str) -> msgspec.Raw | TelegramError:
    """Give the call's result still unread, or the error to raise, whose detail does not contain `secret`."""
    answer = _read_answer(reply.body)
    if answer is not None and answer.ok and reply.status < 300:
        return answer.result
    if answer is None:
        return _wordless(f"{method}: HTTP {reply.status} without a Bot API answer", reply)
    if answer.ok:  # what it says and its status contradict one another
        return MaybeSent(f"{method}: HTTP {reply.status}, and yet the answer is ok")
    code = max(answer.error_code, reply.status if reply.status >= 500 else 0) or reply.status
    description = answer.description.replace(secret, "<token>")
    detail = f"{method}: {code} {description}"[:_DETAIL_CHARACTERS]
    return _refusal(detail, code, answer.description.lower(), answer.parameters or _Parameters(), reply)


def _read_answer(body: bytes) -> _Answer | None:
    try:
        return _read(body)
    except UNREADABLE:  # a page of something in between, or half an answer: only the status counts then
        return None


def _wordless(detail: str, reply: Reply) -> TelegramError:
    match reply.status:
        case 429 | 500 | 501 | 502 | 503:  # it failed itself (RFC 9110, 15.6), or reached no server behind it
            return NotSent(detail, reply.retry_after_s)
        case status if status < 300 or status >= 500:  # 504: passed on, and not answered in a gateway's time
            return MaybeSent(detail)
        case 401:
            return TokenRefused(detail)
        case _:  # a proxy's own 403 or 404 says nothing about message, chat or token, and may be gone soon
            return NotSent(detail, reply.retry_after_s)


def _refusal(detail: str, code: int, words: str, parameters: _Parameters, reply: Reply) -> TelegramError:
    match code:
        case 429:
            return NotSent(detail, max(parameters.retry_after, reply.retry_after_s))
        case _ if code >= 500:
            return NotSent(detail, max(parameters.retry_after, reply.retry_after_s))
        case 401:
            return TokenRefused(detail)
        case 403:
            return ChatGone(detail)
        case 404 if words == "not found":
            return TokenRefused(detail)
        case 400 if parameters.migrate_to_chat_id or any(part in words for part in _CHAT_GONE):
            return ChatGone(detail, parameters.migrate_to_chat_id)
        case 400 if any(part in words for part in _THREAD_GONE):
            return ThreadGone(detail)
        case 400 if any(part in words for part in _TOO_LONG):
            return TextTooLong(detail)
        case 400 if any(part in words for part in _TEXT_REFUSED):
            return TextRefused(detail)
        case _:
            return CallRefused(detail)
