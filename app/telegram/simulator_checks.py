"""What the Bot API refuses, in its own words: texts, entities, keyboards and settings out of bounds."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from app.telegram.simulator_world import Json

MAX_TEXT = 4096  # UTF-16 units, after entity parsing (Bot API sendMessage)
MAX_ENTITIES = 100
MAX_BUTTONS = 100
MAX_CALLBACK_BYTES = 64
ENTITY_TYPES = frozenset({
    "mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bold", "italic",
    "underline", "strikethrough", "spoiler", "blockquote", "expandable_blockquote", "code", "pre",
    "text_link", "text_mention", "custom_emoji",
})  # fmt: skip
ACTIONS = frozenset({
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice",
    "upload_document", "choose_sticker", "find_location", "record_video_note", "upload_video_note",
})  # fmt: skip
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class ApiError(Exception):
    """A call that is answered `ok: false`, with the code and the words of the Bot API."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


def bad_request(words: str) -> ApiError:
    return ApiError(400, f"Bad Request: {words}")


def utf16(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def checked_text(text: str, entities: Any) -> tuple[str, tuple[Json, ...]]:
    """The text as Telegram stores it, white space at both ends cut off, with its entities moved along."""
    if not text:
        raise bad_request("message text is empty")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise bad_request("strings must be encoded in UTF-8")
    parsed = _entities(text, entities)
    stripped = text.strip()
    if not stripped:
        raise bad_request("text must be non-empty")
    if utf16(stripped) > MAX_TEXT:
        raise bad_request("message is too long")
    cut = utf16(text[: len(text) - len(text.lstrip())])
    return stripped, tuple(_moved(parsed, cut, utf16(stripped)))


def checked_markup(markup: Any) -> Json | None:
    """An inline keyboard that Telegram would accept; other markup is none of the simulator's."""
    if markup in (None, ""):
        return None
    if not isinstance(markup, dict):
        raise bad_request("object expected as reply markup")
    rows = markup.get("inline_keyboard", [])
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request('field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays')
    buttons = [button for row in rows for button in row]
    if len(buttons) > MAX_BUTTONS:
        raise bad_request("REPLY_MARKUP_TOO_LONG")
    for button in buttons:
        _check_button(button)
    return {"inline_keyboard": [row for row in rows if row]} if buttons else None


def checked_action(action: str) -> str:
    if action not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    return action


def checked_webhook_url(url: str) -> str:
    """A webhook on this machine; real Telegram asks for HTTPS and one of four ports instead."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    if urlsplit(url).hostname not in LOOPBACK:
        raise bad_request("bad webhook: the simulator delivers to loopback addresses only")
    return url


def checked_secret(secret: str) -> str:
    if len(secret) > 256:
        raise bad_request("secret token is too long")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", secret):
        raise bad_request("secret token contains unallowed characters")
    return secret


def checked_commands(commands: Any) -> list[Json]:
    if not isinstance(commands, list) or len(commands) > 100:
        raise bad_request("can't parse BotCommands: expected an Array of at most 100 BotCommand")
    for each in commands:
        if not isinstance(each, dict) or not re.fullmatch(r"/?[a-z0-9_]{1,32}", str(each.get("command", ""))):
            raise bad_request("BOT_COMMAND_INVALID")
        if not 1 <= len(str(each.get("description", ""))) <= 256:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    return [{"command": c["command"].lstrip("/"), "description": c["description"]} for c in commands]


def _entities(text: str, entities: Any) -> Sequence[Json]:
    if entities in (None, ""):
        return ()
    if not isinstance(entities, list):
        raise bad_request("can't parse entities JSON object: expected an Array")
    if len(entities) > MAX_ENTITIES:
        raise bad_request("ENTITIES_TOO_LONG")
    ends = _character_ends(text)
    return [_entity(each, ends) for each in entities]


def _character_ends(text: str) -> frozenset[int]:
    """The offsets, in UTF-16 units, that do not cut a character in two."""
    offset, ends = 0, {0}
    for letter in text:
        offset += 2 if ord(letter) > 0xFFFF else 1
        ends.add(offset)
    return frozenset(ends)


def _entity(entity: Any, ends: frozenset[int]) -> Json:
    if not isinstance(entity, dict):
        raise bad_request("can't parse MessageEntity: expected an Object")
    if entity.get("type") not in ENTITY_TYPES:
        raise bad_request("can't parse MessageEntity: Unsupported type specified")
    start, length = entity.get("offset"), entity.get("length")
    if type(start) is not int or type(length) is not int or start < 0 or length <= 0:
        raise bad_request('can\'t parse MessageEntity: fields "offset" and "length" must be Numbers above 0')
    end, beginning = start + length, f"entity beginning at UTF-16 offset {start}"
    if end > max(ends):
        raise bad_request(f"{beginning} ends after the end of the text at UTF-16 offset {end}")
    if start not in ends or end not in ends:
        raise bad_request(f"{beginning} ends in a middle of a UTF-16 symbol at UTF-16 offset {end}")
    if entity["type"] == "text_link" and not entity.get("url"):
        raise bad_request("can't parse MessageEntity: can't find field \"url\"")
    return entity


def _moved(entities: Sequence[Json], cut: int, length: int) -> Sequence[Json]:
    moved = []
    for entity in entities:
        start = max(0, entity["offset"] - cut)
        end = min(length, entity["offset"] - cut + entity["length"])
        if start < end:
            moved.append(entity | {"offset": start, "length": end - start})
    return sorted(moved, key=lambda each: (each["offset"], -each["length"]))


def _check_button(button: Any) -> None:
    problem = "can't parse inline keyboard button: "
    if not isinstance(button, dict) or not button.get("text"):
        raise bad_request(f'{problem}Field "text" must be a non-empty String')
    if "callback_data" not in button and "url" not in button:
        raise bad_request(f"{problem}Text buttons are unallowed in the inline keyboard")
    data = button.get("callback_data", "-")
    if not isinstance(data, str) or not 1 <= len(data.encode()) <= MAX_CALLBACK_BYTES:
        raise bad_request("BUTTON_DATA_INVALID")
