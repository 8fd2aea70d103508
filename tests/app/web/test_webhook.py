"""What Telegram, and everybody who pretends to be Telegram, gets from the webhook."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from actors.ports import NotSent, Unreachable
from app.telegram.updates import quarantine_id
from app.web.webhook import SECRET_HEADER, WebhookRules
from contracts.base import Message
from contracts.chat import TakeTurn
from contracts.faults import Busy, Internal, MailboxFull, StoreRefused, StoreUnavailable, Unsupported
from contracts.sessions import TurnReleased, UpdateAccepted, UpdateDuplicate
from tests.app.web.web_kit import BOT, SECRET, WEBHOOK, Service, callback, message, service


@pytest.fixture
async def web() -> AsyncIterator[Service]:
    """The service with its usual rules."""
    async with service() as running:
        yield running


# ---------------------------------------------------------------- the way through


async def test_a_message_is_durable_before_200_and_gets_its_turn(web: Service) -> None:
    """One ask makes the update durable, 200 follows, then the agent gets a ticket of ids only."""
    response = await web.post(message(11, text="hi"))
    await web.settle()
    (accepted,) = web.accepted
    assert (response.status, response.body) == (200, b"")
    assert (accepted.bot, accepted.update, accepted.verdict, accepted.raw) == (BOT, 11, "queue", b"")
    assert (accepted.incoming.chat, accepted.incoming.text) == (7, "hi")
    assert web.tickets == [TakeTurn(chat=7, bot=BOT, update=11)]
    assert web.counted("message", "queue") == 1


async def test_each_chat_goes_to_its_own_shard() -> None:
    """The shard is crc32 of the decimal chat id modulo the number of shards."""
    async with service(shards=4) as web:
        for chat in (1, 2, 3, 4, 5):
            await web.post(message(chat, chat=chat))
        placed = {m.incoming.chat: n for n, shard in enumerate(web.shards) for m in shard.asked}  # type: ignore[attr-defined]
        assert placed == {1: 3, 2: 1, 3: 3, 4: 0, 5: 2}


async def test_200_does_not_wait_for_the_turn(web: Service) -> None:
    """An agent that takes for ever to take the ticket holds up nobody."""
    web.agent.told_reply = asyncio.Event()
    response = await web.post(message())
    assert (response.status, len(web.tasks)) == (200, 1)


@pytest.mark.parametrize("failure", [Unreachable("away"), RuntimeError("defect")])
async def test_a_turn_that_cannot_be_started_is_left_to_the_sweeper(web: Service, failure: Exception) -> None:
    """The update is durable, so a failing tell changes nothing for Telegram."""
    web.agent.told_reply = failure
    response = await web.post(message())
    await web.settle()
    assert (response.status, len(web.tickets)) == (200, 1)


async def test_a_duplicate_is_counted_and_its_turn_started_again(web: Service) -> None:
    """The first delivery may have died between its commit and its ticket; a second ticket is harmless."""
    web.shards[0].reply = UpdateDuplicate()
    response = await web.post(message(3))
    await web.settle()
    assert (response.status, web.tickets) == (200, [TakeTurn(chat=7, bot=BOT, update=3)])
    assert (web.counted("message", "duplicate"), web.counted("message", "queue")) == (1, 0)


async def test_a_button_is_answered_at_once_and_queued(web: Service) -> None:
    """A callback query gets its answer after the acceptance and, like any update, a turn."""
    response = await web.post(callback(5))
    await web.settle()
    assert (response.status, web.callbacks.answered, len(web.tickets)) == (200, ["cb-1"], 1)


async def test_a_button_that_cannot_be_answered_is_no_matter(web: Service) -> None:
    """Only the spinner depends on answerCallbackQuery."""
    web.callbacks.failure = NotSent("down")
    response = await web.post(callback(5))
    await web.settle()
    assert (response.status, len(web.tickets)) == (200, 1)


@pytest.mark.parametrize("reply", [UpdateDuplicate(), StoreUnavailable()])
async def test_a_button_is_answered_at_once_whatever_the_store_says(web: Service, reply: Message) -> None:
    """The spinner ends before the update is durable; what it asks for comes when Telegram tries again."""
    web.shards[0].reply = reply
    await web.post(callback(5))
    await web.settle()
    assert web.callbacks.answered == ["cb-1"]


# ---------------------------------------------------------------- never 200 without durability


@pytest.mark.parametrize(
    "reply",
    [
        StoreUnavailable(detail="down"),
        Busy(),
        Internal(detail="defect"),
        StoreRefused(),
        Unsupported(),
        TurnReleased(),  # an answer to another question
        Unreachable("no container"),
        RuntimeError("a defect of the transport"),
    ],
)
async def test_what_is_not_accepted_stays_with_telegram(web: Service, reply: Message | Exception) -> None:
    """503 with Retry-After, and no turn, whenever the acceptance is not certain."""
    web.shards[0].reply = reply
    response = await web.post(message())
    await web.settle()
    assert (response.status, int(response.headers["Retry-After"]), web.tickets) == (503, 1, [])
    assert b"RuntimeError" not in response.body


async def test_an_actor_that_hangs_gives_503() -> None:
    """The webhook waits for an acceptance no longer than its deadline."""
    async with service(accept_deadline_s=0.02) as web:
        web.shards[0].reply = asyncio.Event()
        assert (await web.post(message())).status == 503


@pytest.mark.parametrize(("hint", "header"), [(0.0, "1"), (5.0, "5"), (0.2, "1"), (7.1, "8"), (9000.0, "60")])
async def test_a_full_mailbox_gives_429(web: Service, hint: float, header: str) -> None:
    """Telegram comes back after whole seconds, at least one and at most a minute."""
    web.shards[0].reply = MailboxFull(retry_after_s=hint)
    response = await web.post(message())
    assert (response.status, response.headers["Retry-After"]) == (429, header)
    assert web.counted("message", "mailbox_full") == 1


async def test_a_group_waits_until_we_know_our_name(web: Service) -> None:
    """Before getMe was answered nobody can tell whether `/help@x` is for us, so Telegram keeps it."""
    web.identity.append(None)
    group = message(text="/help@firstlight_bot", chat=-5, kind="group")
    response = await web.post(group)
    assert (response.status, response.headers["Retry-After"], web.accepted) == (503, "1", [])


# ---------------------------------------------------------------- what gets no turn


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b"1",
        b"\xef\xbb\xbf{}",
        b'{"update_id": NaN}',
        b'{"update_id": 1, "message": {"text": "\\ud800"}}',
        b'{"update_id": 1' + b"0" * 400 + b"}",
        b'{"update_id": -1}',
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"update_id": "x"}',
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
async def test_a_body_that_no_retry_can_mend_is_kept_and_acknowledged(web: Service, body: bytes) -> None:
    """With the right secret it is 200 and a quarantine record on shard 0, cut to 64 kB; never a 5xx."""
    response = await web.post(body)
    (kept,) = web.accepted
    assert (response.status, kept.verdict, kept.incoming.chat, kept.raw) == (
        200,
        "quarantined",
        0,
        body[:65536],
    )
    assert kept.reason != ""
    assert web.tickets == []


async def test_the_same_unreadable_body_is_one_record(web: Service) -> None:
    """Its id follows from its bytes, so that Telegram's retries are duplicates."""
    await web.post(b"{")
    await web.post(b"{")
    assert [m.update for m in web.accepted] == [quarantine_id(b"{")] * 2


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("é" * (16_384 - len("Ada+private") // 2), "queue"), ("é" * 16_384, "quarantined")],
)
async def test_a_text_over_32_kib_is_set_aside(web: Service, text: str, verdict: str) -> None:
    """No Telegram text is that long, and the mailbox must not carry one; /forget erases it with its chat."""
    response = await web.post(message(text=text))
    (kept,) = web.accepted
    assert (response.status, kept.verdict, kept.update, kept.incoming.chat) == (200, verdict, 1, 7)


@pytest.mark.parametrize("update", [message(), callback(), message(kind="group")])
async def test_names_count_as_text(web: Service, update: dict[str, Any]) -> None:
    """I7: whatever text is kept of an update counts for its bound, so that a mailbox has one in bytes."""
    (kind,) = update.keys() - {"update_id"}
    update[kind]["from"]["first_name"] = "a" * 40_000
    response = await web.post(update)
    (kept,) = web.accepted
    assert (200, "quarantined", "too_long") == (response.status, kept.verdict, kept.reason)


@pytest.mark.parametrize(
    ("update", "kind"),
    [
        ({"update_id": 9, "poll": {"id": "1"}}, "poll"),
        ({"update_id": 9, "hologram": {"x": 1}}, "unknown"),
        ({"update_id": 9}, "unknown"),
    ],
)
async def test_kinds_that_we_do_not_answer_are_ignored_by_kind(
    web: Service, update: Mapping[str, object], kind: str
) -> None:
    """200, a record that says ignored, counted by kind, no turn."""
    response = await web.post(update)
    (kept,) = web.accepted
    assert (response.status, kept.verdict, kept.incoming.kind) == (200, "ignored", kind)
    assert (web.counted(kind, "ignored"), web.tickets) == (1, [])


async def test_what_is_said_to_others_is_not_kept(web: Service) -> None:
    """A group's chatter is recorded as ignored, without its text."""
    await web.post(message(text="psst", chat=-5, kind="group"))
    (kept,) = web.accepted
    assert (kept.verdict, kept.incoming.text, kept.incoming.chat) == ("ignored", "", -5)


@pytest.mark.parametrize("update", [message(user=666), callback()], ids=["message", "callback"])
@pytest.mark.parametrize("allowed", [frozenset[int](), frozenset({1})])
async def test_a_stranger_is_refused_before_any_cost(update: object, allowed: frozenset[int]) -> None:
    """Off the allow-list: a record that says refused, without the text; no turn and no answer."""
    async with service(allowed=allowed) as web:
        response = await web.post(update)
        await web.settle()
        (kept,) = web.accepted
        assert (response.status, kept.verdict, kept.reason) == (200, "refused", "not_allowed")
        assert (kept.incoming.text, web.tickets, web.callbacks.answered) == ("", [], [])


async def test_who_is_on_the_list_is_answered() -> None:
    """The list holds numeric user ids."""
    async with service(allowed=frozenset({7})) as web:
        await web.post(message(user=7))
        assert [m.verdict for m in web.accepted] == ["queue"]


# ---------------------------------------------------------------- who is not Telegram


@pytest.mark.parametrize("secret", ["", "wrong", SECRET + "x", SECRET[:-1], SECRET.upper(), "ключ", "é"])
async def test_a_wrong_secret_is_refused(web: Service, secret: str) -> None:
    """401, also for what is no ASCII, and nothing is asked of an actor."""
    response = await web.post(message(), {SECRET_HEADER: secret})
    assert (response.status, web.accepted) == (401, [])
    assert web.counted("unread", "unauthorized") == 1


def test_a_webhook_without_a_secret_does_not_start() -> None:
    """Without one anybody could write updates (A7)."""
    with pytest.raises(ValueError, match="secret"):
        WebhookRules(secret=b"", bot=BOT)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/jsonp", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ],
)
async def test_only_json_is_read(web: Service, content_type: str, status: int) -> None:
    """Any other content type is 415."""
    assert (await web.post(message(), {"Content-Type": content_type})).status == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH"])
async def test_only_post_is_served(web: Service, method: str) -> None:
    """Another method on the path is 405."""
    async with web.http.request(method, web.url + WEBHOOK, headers={SECRET_HEADER: SECRET}) as response:
        assert response.status == 405


@pytest.mark.parametrize(
    "path", ["/", "/webhook", "/webhook/telegram/", "/webhook/telegram/x", "/Webhook/telegram"]
)
async def test_another_path_is_not_found(web: Service, path: str) -> None:
    """404, and it is told in plain text."""
    async with web.http.post(
        web.url + path, headers={SECRET_HEADER: SECRET, "Accept": "text/html"}
    ) as response:
        assert (response.status, response.content_type) == (404, "text/plain")


async def test_the_largest_body_is_one_mebibyte(web: Service) -> None:
    """1 MiB is read, one byte more is 413."""
    padding = b'{"update_id": 9, "x": "' + b"a" * (1024 * 1024 - 25) + b'"}'
    assert len(padding) == 1024 * 1024
    assert (await web.post(padding)).status == 200
    assert (await web.post(padding + b" ")).status == 413


async def test_updates_share_a_connection(web: Service) -> None:
    """Keep-alive is on, also after a refusal whose request had arrived whole."""
    for secret in (SECRET, "wrong", SECRET):
        await web.post(msgspec.json.encode(message()), {SECRET_HEADER: secret})
    web.shards[0].reply = UpdateAccepted()
    connector = web.http.connector
    assert connector is not None
    assert sum(len(idle) for idle in connector._conns.values()) == 1
