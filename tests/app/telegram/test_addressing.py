"""Whom a group's message is said to, and how commands are read."""

from typing import Any

import pytest

from app.telegram.addressing import BotIdentity, IdentityNeeded
from tests.app.telegram.update_kit import message, verdict

OURS = {"id": 1, "is_bot": True, "first_name": "Bot"}
THEIRS = {"id": 2, "is_bot": True, "first_name": "Other"}
QUEUED, IGNORED = ("queue", ""), ("ignored", "not_addressed")


def mention(offset: int, length: int) -> dict[str, Any]:
    """Give the fields of a mention."""
    return {"entities": [{"type": "mention", "offset": offset, "length": length}]}


def text_mention(user: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of a mention without a username."""
    return {"entities": [{"type": "text_mention", "offset": 0, "length": 3, "user": user}]}


@pytest.mark.parametrize("chat_type", ["group", "supergroup"])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"text": "/help"}, QUEUED),
        ({"text": "/help@OurBot me"}, QUEUED),
        ({"text": "/help@ourbot"}, QUEUED),
        ({"text": "/help@OtherBot"}, IGNORED),
        ({"text": "/help@OtherBot", "reply_to_message": {"from": OURS}}, IGNORED),
        ({"text": "/usr/bin is a folder"}, IGNORED),
        ({"text": "see /help"}, IGNORED),
        ({"text": "hi @OurBot", **mention(3, 7)}, QUEUED),
        ({"text": "hi @OURBOT", **mention(3, 7)}, QUEUED),
        ({"text": "👨‍👩‍👧😀 @OurBot", **mention(11, 7)}, QUEUED),
        ({"text": "hi @OurBotter", **mention(3, 10)}, IGNORED),
        ({"text": "hi @OurBot", **mention(2**60, 2**60)}, IGNORED),
        ({"text": "hi @OurBot", **mention(-5, -(2**60))}, IGNORED),
        ({"text": "hi @OurBot"}, IGNORED),  # no entity: written in code, or not a name
        ({"text": "bot, hi", **text_mention(OURS)}, QUEUED),
        ({"text": "bot, hi", **text_mention(THEIRS)}, IGNORED),
        ({"reply_to_message": {"message_id": 3, "from": OURS}}, QUEUED),
        ({"reply_to_message": {"message_id": 3, "from": THEIRS}}, IGNORED),
        ({"reply_to_message": {"message_id": 3}}, IGNORED),
        ({"text": None, "caption": "@OurBot look", "caption_entities": mention(0, 7)["entities"]}, QUEUED),
        ({"text": None, "caption": "look"}, IGNORED),
    ],
)
def test_in_groups_only_what_is_said_to_us_is_queued(
    chat_type: str, fields: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Commands, mentions and replies to us are answered in groups, and nothing else."""
    assert verdict(message=message(chat_type, **fields)) == expected


@pytest.mark.parametrize(
    ("identity", "fields"),
    [
        (None, {"text": "/help@OurBot"}),
        (None, {"text": "hi @OurBot", **mention(3, 7)}),
        (None, {"reply_to_message": {"from": OURS}}),
        (None, {"text": "bot, hi", **text_mention(OURS)}),
        (BotIdentity(1), {"text": "/help@OurBot"}),
        (BotIdentity(1), {"text": "hi @OurBot", **mention(3, 7)}),
    ],
)
def test_a_verdict_that_needs_our_name_waits_for_it(
    identity: BotIdentity | None, fields: dict[str, Any]
) -> None:
    """Before getMe was answered a group's message is not judged by guessing."""
    with pytest.raises(IdentityNeeded):
        verdict(identity, message=message("group", **fields))


@pytest.mark.parametrize(
    ("identity", "chat_type", "fields", "expected"),
    [
        (None, "group", {"text": "/help"}, QUEUED),
        (None, "group", {"text": "hello"}, IGNORED),
        (None, "private", {"text": "hi @OurBot", **mention(3, 7)}, QUEUED),
        (BotIdentity(1), "group", {"reply_to_message": {"from": OURS}}, QUEUED),
        (BotIdentity(1), "group", {"reply_to_message": {"from": THEIRS}}, IGNORED),
    ],
)
def test_a_verdict_that_does_not_need_our_name_does_not_wait(
    identity: BotIdentity | None, chat_type: str, fields: dict[str, Any], expected: tuple[str, str]
) -> None:
    """What can be judged without getMe is judged at once."""
    assert verdict(identity, message=message(chat_type, **fields)) == expected


@pytest.mark.parametrize("token", ["", "abc", "abc:def", ":x", "१:x", "9" * 30 + ":x"])
def test_a_token_without_an_id_is_refused_and_not_repeated(token: str) -> None:
    """The error of a malformed token is safe to print."""
    with pytest.raises(ValueError, match=r"^a bot token starts with the bot's numeric id and a colon$"):
        BotIdentity.of_token(token)


def test_the_id_stands_in_the_token() -> None:
    """We know our id before any call."""
    assert BotIdentity.of_token("123:abc") == BotIdentity(123)
