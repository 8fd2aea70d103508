"""Who a text is said to: commands, mentions of the bot and replies to it."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from app.telegram.wire import Message, MessageEntity, read_entities, read_replied_to

# Telegram's own rule for a `bot_command` at the start of a text; "/usr/bin" is none.
_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{1,64}))?(?![\w@/])")


class BotIdentity(msgspec.Struct, frozen=True):
    """Who we are: the id stands in the token, the username only in the answer to `getMe` ("": not known yet)."""

    id: int
    username: str = ""

    @classmethod
    def of_token(cls, token: str) -> "BotIdentity":
        """Read the id before the token's colon; raises ValueError, which does not repeat the token."""
        digits = token.partition(":")[0]
        if not (digits.isascii() and digits.isdigit() and len(digits) < 19):  # so that it fits 64 bits
            raise ValueError("a bot token starts with the bot's numeric id and a colon")
        return cls(int(digits))


class IdentityNeeded(Exception):
    """Whether a group's message is for us can't be told before `getMe` was answered; ask again then."""


def addresses_bot(message: Message, identity: BotIdentity | None) -> bool:
    """Tell whether a group's message is a command for us, mentions us, or replies to us.

    Raises IdentityNeeded, and what msgspec raises for unreadable entities.
    """
    command = _COMMAND.match(message.words)
    if command is not None:  # `/cmd@Other` is not ours, also as a reply to us
        return command[2] is None or _is_ours(command[2], identity)
    entities = read_entities(_entities_of(message)) if _entities_of(message) else None
    users = {*_mentioned_users(entities or ()), *_replied_to_bots(message)}
    if identity is not None and identity.id in users:
        return True
    if any(_is_ours(name, identity) for name in _mentioned_names(message.words, entities or ())):
        return True
    if users and identity is None:
        raise IdentityNeeded
    return False


def _is_ours(name: str, identity: BotIdentity | None) -> bool:
    if identity is None or not identity.username:
        raise IdentityNeeded
    return name.lower() == identity.username.lower()


def _entities_of(message: Message) -> msgspec.Raw:
    return message.entities if message.text else message.caption_entities


def _mentioned_users(entities: Iterable[MessageEntity]) -> Iterable[int]:
    return (entity.user.id for entity in entities if entity.type == "text_mention" and entity.user)


def _mentioned_names(text: str, entities: Iterable[MessageEntity]) -> Iterable[str]:
    units = text.encode("utf-16-le")
    for entity in entities:
        if entity.type == "mention":
            start, end = 2 * entity.offset, 2 * (entity.offset + entity.length)
            yield units[start:end].decode("utf-16-le", "replace").removeprefix("@")


def _replied_to_bots(message: Message) -> Iterable[int]:
    if not message.reply_to_message:
        return ()
    replied_to = read_replied_to(message.reply_to_message)
    if replied_to is None or replied_to.sender is None or not replied_to.sender.is_bot:
        return ()
    return (replied_to.sender.id,)
