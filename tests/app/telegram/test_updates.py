"""What is done with an update: queued, ignored with a reason, or set aside."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.telegram.addressing import BotIdentity, IdentityNeeded
from app.telegram.kinds import IGNORED_REASONS, KINDS, UNREADABLE_REASONS
from app.telegram.updates import Unreadable, allowed, classify, quarantine_id
from contracts.turns import Incoming
from tests.app.telegram.update_kit import US, body, message, take, verdict

KIND_LINES = Path(__file__).with_name("update_kinds.jsonl").read_text(encoding="utf-8").splitlines()


def test_a_private_text_is_queued_with_all_that_a_turn_needs() -> None:
    """A private text message reaches the turn in full."""
    assert take(message=message()).incoming == Incoming(
        kind="message", chat=7, user=7, user_name="Ada", message=11, text="hello", sent_at=1_700_000_000
    )
    assert verdict(message=message()) == ("queue", "")


def test_a_caption_is_text() -> None:
    """A photo with a caption is answered by its caption."""
    intake = take(message=message(text=None, caption="what is this?", photo=[]))
    assert (intake.verdict, intake.incoming.text) == ("queue", "what is this?")


@pytest.mark.parametrize(
    ("fields", "thread"),
    [
        ({"is_topic_message": True, "message_thread_id": 77}, 77),
        ({"message_thread_id": 77}, 0),
        ({"is_topic_message": False, "message_thread_id": 77}, 0),
        ({"is_topic_message": True}, 0),
        ({"is_topic_message": True, "message_thread_id": None}, 0),
        ({"is_topic_message": None, "message_thread_id": None}, 0),
    ],
)
def test_a_thread_is_kept_only_where_it_is_a_topic(fields: dict[str, Any], thread: int) -> None:
    """Outside of a forum a thread is a chain of replies, into which nothing can be sent; a button is as its message."""
    pressed = {"id": "c1", "from": {"id": 7}, "data": "mode:brief"}
    said = take(message=message(**fields)).incoming
    assert (said.thread, said.chat) == (thread, 7)
    assert take(callback_query=pressed | {"message": message(**fields)}).incoming.thread == thread


@pytest.mark.parametrize("line", KIND_LINES, ids=[list(json.loads(line))[1] for line in KIND_LINES])
def test_each_kind_of_the_bot_api_is_read_under_its_name(line: str) -> None:
    """Messages and buttons are queued; each other kind is ignored and counted under its own name."""
    kind = list(json.loads(line))[1]
    intake = classify(line.encode(), US)
    expected = ("queue", "") if kind in ("message", "callback_query") else ("ignored", kind)
    assert (intake.incoming.kind, intake.verdict, intake.reason) == (kind, *expected)
    assert intake.update_id == json.loads(line)["update_id"]


def test_the_fixtures_hold_every_kind_once() -> None:
    """No known kind lacks its example."""
    assert sorted(list(json.loads(line))[1] for line in KIND_LINES) == sorted(KINDS)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"message": message(text=None, sticker={"emoji": "👍"})}, "media"),
        ({"message": message(text=None, new_chat_title="x")}, "no_text"),
        ({"message": message(from_=None)}, "no_sender"),
        ({"message": message(from_={"id": 2, "is_bot": True, "first_name": "B"})}, "from_bot"),
        ({"message": message("channel")}, "channel"),
        ({"message": message("group")}, "not_addressed"),
        ({"message": message("gathering")}, "unknown"),
        ({"message": message(chat={"id": 7})}, "unknown"),
        ({}, "unknown"),
        ({"hologram": {"chat": {"id": 3}}}, "unknown"),
        ({"message": None, "poll": {"id": "1"}}, "poll"),
        ({"edited_message": "not even an object"}, "edited_message"),
        ({"channel_post": {"chat": {"id": "x"}}}, "channel_post"),
        ({"poll": [[[1e400]]]}, "poll"),
        ({"callback_query": {"id": "c", "from": {"id": 7}, "data": "x"}}, "no_chat"),
    ],
)
def test_what_is_not_for_us_is_ignored_with_a_reason(fields: dict[str, Any], reason: str) -> None:
    """What is not answered in this version is ignored, under a reason of the bounded vocabulary."""
    text = json.dumps({"update_id": 5, **fields}).replace("Infinity", "1e400")
    intake = classify(text.encode(), US)
    assert (intake.verdict, intake.reason) == ("ignored", reason)
    assert reason in IGNORED_REASONS


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("x", ("queue", "")),
        ("é" * 32, ("queue", "")),
        ("é" * 33, ("ignored", "callback_data")),
        ("x" * 65, ("ignored", "callback_data")),
        ("", ("ignored", "callback_data")),
        (None, ("ignored", "callback_data")),
    ],
)
def test_button_data_has_1_to_64_bytes(data: str | None, expected: tuple[str, str]) -> None:
    """Data that no button of ours can have is dropped, also from the record."""
    press = {"id": "c1", "from": {"id": 7, "first_name": "Ada"}, "data": data, "message": message()}
    intake = take(callback_query=press)
    assert (intake.verdict, intake.reason) == expected
    assert intake.incoming.text == (data if expected[0] == "queue" else "")
    assert (intake.incoming.callback, intake.incoming.chat, intake.incoming.message) == ("c1", 7, 11)


def test_a_groups_anonymous_admin_is_a_person() -> None:
    """Telegram puts GroupAnonymousBot in front of an admin who hides; a command of theirs is answered."""
    stand_in = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
    intake = take(message=message("group", text="/status", from_=stand_in))
    assert (intake.verdict, intake.incoming.user) == ("queue", 1087968824)


def test_a_group_that_becomes_a_supergroup_is_followed() -> None:
    """The service message of the move is queued, whoever said it."""
    bot = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
    intake = take(message=message("group", text=None, migrate_to_chat_id=-(2**53), from_=bot))
    assert (intake.verdict, intake.incoming.chat, intake.incoming.migrate_to) == ("queue", -5, -(2**53))


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63 - 1, -(2**63)])
def test_ids_of_64_bits_are_kept_exactly(number: int) -> None:
    """An id never passes through a float."""
    intake = take(message=message(chat={"id": number, "type": "private"}))
    assert intake.incoming.chat == number


def test_null_is_absent() -> None:
    """An update from a library that writes every field, null if absent, is read like any other."""
    absent = dict.fromkeys(["caption", "entities", "reply_to_message", "migrate_to_chat_id"])
    content = {**message("group"), **absent}
    assert verdict(edited_message=None, message=content, callback_query=None) == ("ignored", "not_addressed")


@pytest.mark.parametrize(
    "fields",
    [
        {"message": {}},
        {"message": "text"},
        {"message": message(text=5)},
        {"message": message(chat={"id": 2**63, "type": "private"})},
        {"message": message("group", entities="none")},
        {"message": message("group", reply_to_message=5)},
        {"callback_query": {"id": 5}},
    ],
)
def test_an_unreadable_message_is_set_aside_under_its_own_id(fields: dict[str, Any]) -> None:
    """When the update's id is readable and its message is not, the update is quarantined."""
    intake = take(**fields)
    assert (intake.update_id, intake.verdict, intake.reason) == (5, "quarantined", "bad_content")


DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf" + body(message=message()), "bom"),
        (b"{", "not_json"),
        (b"\xff\xfe{\x00}\x00", "not_json"),
        (body() + b"}", "not_json"),
        (b'{"update_id": NaN}', "not_json"),
        (b'{"update_id": 5, "poll": NaN}', "not_json"),
        (b'{"update_id": 5, "message": "\\ud800"}', "not_json"),
        (b'{"update_id": 5, "poll": %s}' % DEEP, "too_deep"),
        (DEEP, "not_object"),
        (b"[]", "not_object"),
        (b"null", "not_object"),
        (b'"update_id"', "not_object"),
        (b"{}", "no_update_id"),
        (b'{"message": {}}', "no_update_id"),
        (b'{"update_id": null}', "bad_update_id"),
        (b'{"update_id": "5"}', "bad_update_id"),
        (b'{"update_id": 5.5}', "bad_update_id"),
        (b'{"update_id": -1}', "bad_update_id"),
        (b'{"update_id": 9223372036854775808}', "bad_update_id"),
        (b'{"update_id": %s}' % (b"9" * 5000), "bad_update_id"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else None,
)
def test_a_body_without_a_usable_id_says_why(content: bytes, reason: str) -> None:
    """What can't be read is refused with a reason of the bounded vocabulary, and with nothing else."""
    with pytest.raises(Unreadable) as caught:
        classify(content, US)
    assert caught.value.reason == reason
    assert reason in UNREADABLE_REASONS


def test_of_a_key_given_twice_the_last_counts() -> None:
    """Duplicate keys are read the way most JSON readers read them."""
    assert classify(b'{"update_id": 1, "update_id": 2}', US).update_id == 2


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(KINDS)), inner),
    max_leaves=10,
)
FIELDS = [
    "message_id",
    "from",
    "chat",
    "text",
    "caption",
    "entities",
    "reply_to_message",
    "data",
    "id",
    "message",
]
PARTS = st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES | st.just({"id": 1, "type": "group"}))


def outcome(content: bytes, who: BotIdentity | None) -> str:
    """Give the reason of whatever comes out, "" for a queued update."""
    try:
        return classify(content, who).reason
    except Unreadable as unreadable:
        return unreadable.reason
    except IdentityNeeded:
        return "identity"


@given(st.binary() | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_classified_or_unreadable(content: bytes) -> None:
    """No body makes the webhook fail, and every reason is of the bounded vocabulary."""
    assert outcome(content, US) in IGNORED_REASONS | UNREADABLE_REASONS | {""}


@given(st.sampled_from(sorted(KINDS)), PARTS)
def test_any_content_of_any_kind_is_judged(kind: str, part: dict[str, Any]) -> None:
    """With a readable id there is a verdict, unless NaN makes the whole no JSON."""
    reasons = IGNORED_REASONS | {"", "bad_content", "not_json"}
    assert outcome(body(**{kind: part}), US) in reasons
    assert outcome(body(**{kind: part}), None) in reasons | {"identity"}


@given(st.binary(), st.binary())
def test_a_quarantined_body_has_a_stable_negative_id(one: bytes, other: bytes) -> None:
    """The same bytes have the same id of 64 bits, which no update of Telegram has; others have another."""
    assert -(2**63) <= quarantine_id(one) < 0
    assert (quarantine_id(one) == quarantine_id(bytes(one))) is True
    assert (quarantine_id(one) == quarantine_id(other)) == (one == other)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [(None, True), (frozenset({7, 8}), True), (frozenset({8}), False), (frozenset(), False)],
)
def test_the_allow_list_is_of_numeric_ids(ids: frozenset[int] | None, expected: bool) -> None:
    """Without a list anyone may write; with one only who stands on it, and nobody on an empty one."""
    assert allowed(Incoming(kind="message", user=7), ids) is expected
