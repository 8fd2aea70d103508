"""Calls of the Bot API over a real socket: what they send, and what each fault becomes."""

import asyncio
import socket
from collections import Counter

import pytest

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
from app.telegram.addressing import BotIdentity
from app.telegram.client import Deadlines, TelegramClient
from app.telegram.methods import BotCommand, Polled, WebhookInfo
from contracts.turns import Button, Entity
from tests.app.telegram.client_kit import SENT, SHORT, TOKEN, client_of
from tests.app.telegram.scripted_api import Hang, Reset, Say, Step, no, ok, scripted_api

pytestmark = pytest.mark.usefixtures("no_waiting")


async def send(step: Step, deadlines: Deadlines | None = None) -> int:
    """Send a message to an API that takes this one step."""
    async with scripted_api(step) as api, client_of(api.url, deadlines) as client:
        return await client.send_message(7, "hi")


async def failure(step: Step, deadlines: Deadlines | None = None) -> TelegramError:
    """Give the error that this step becomes for a sent message."""
    with pytest.raises(TelegramError) as caught:
        await send(step, deadlines)
    return caught.value


async def test_a_message_is_sent_with_its_entities_and_buttons() -> None:
    """What Telegram gets is the text, the entities with their UTF-16 offsets, and one button a row."""
    async with scripted_api(SENT) as api, client_of(api.url) as client:
        number = await client.send_message(
            -5, "hi 👍", [Entity(type="bold", offset=0, length=2)], [Button(text="Yes", data="y")]
        )
    assert number == 9
    assert [call.path for call in api.calls] == [f"/bot{TOKEN}/sendMessage"]
    assert api.calls[0].params == {
        "chat_id": -5,
        "text": "hi 👍",
        "entities": [{"type": "bold", "offset": 0, "length": 2}],
        "reply_markup": {"inline_keyboard": [[{"text": "Yes", "callback_data": "y"}]]},
    }


async def test_what_belongs_to_a_topic_goes_there() -> None:
    """Message and typing name the forum topic."""
    async with scripted_api(SENT, ok(True)) as api, client_of(api.url) as client:
        await client.send_message(-5, "hi", thread=77)
        await client.send_typing(-5, thread=77)
    assert [call.params for call in api.calls] == [
        {"chat_id": -5, "text": "hi", "message_thread_id": 77},
        {"chat_id": -5, "action": "typing", "message_thread_id": 77},
    ]


async def test_a_plain_message_carries_nothing_else() -> None:
    """What is not given is not sent."""
    async with scripted_api(SENT) as api, client_of(api.url + "/") as client:
        await client.send_message(7, "hi")
    assert [(call.path, call.params) for call in api.calls] == [
        (f"/bot{TOKEN}/sendMessage", {"chat_id": 7, "text": "hi"})
    ]


HTML = b"<html>Bad Gateway</html>"


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (no(429, "Too Many Requests: retry after 3", retry_after=3), NotSent),
        (Say(status=429, body=HTML), NotSent),
        (no(500, "Internal Server Error"), NotSent),
        (no(502, "Bad Gateway"), NotSent),
        (Say(status=500, body=HTML), NotSent),
        (Say(status=500, body=b""), NotSent),
        (Say(status=503, body=HTML), NotSent),
        (Say(status=502, body=HTML), NotSent),
        (Say(status=502, body=b""), NotSent),
        (Say(status=501, body=HTML), NotSent),
        (Say(status=504, body=b""), MaybeSent),
        (Say(status=504, body=HTML), MaybeSent),
        (Say(status=520, body=HTML), MaybeSent),
        (Say(status=503, body=HTML, cut=5), NotSent),
        (Say(status=502, body=b'{"ok": true, "result": true}'), MaybeSent),
        (Say(status=500, body=b'{"ok": true, "result": true}'), MaybeSent),
        (Say(status=400, body=b'{"ok": true, "result": true}'), MaybeSent),
        (Say(body=HTML), MaybeSent),
        (Say(body=b""), MaybeSent),
        (Say(body=b"[]"), MaybeSent),
        (Say(body=b'{"ok": true, "result": {}}'), MaybeSent),
        (Say(body=b'{"ok": true, "result": {"message_id": "\xff"}}'), MaybeSent),
        (Say(body=SENT.body, cut=3), MaybeSent),
        (Say(body=b'{"ok": true, "result": {"message_id": 9, "x": "%s"}}' % (b"x" * (1 << 20))), MaybeSent),
        (Reset(), MaybeSent),
        (Reset(read=False), MaybeSent),  # from here it can't be told from the one above
        (no(400, "Bad Request: can't parse entities: Unsupported start tag"), TextRefused),
        (no(400, "Bad Request: message is too long"), TextTooLong),
        (no(400, "Bad Request: MESSAGE_TOO_LONG"), TextTooLong),
        (no(400, "Bad Request: ENTITIES_TOO_LONG"), TextRefused),
        (no(400, "Bad Request: text must be non-empty"), TextRefused),
        (no(400, "Bad Request: message text is empty"), TextRefused),
        (no(400, "Bad Request: ENTITY_BOUNDS_INVALID"), TextRefused),
        (no(400, "Bad Request: message thread not found"), ThreadGone),
        (no(400, "Bad Request: TOPIC_DELETED"), ThreadGone),
        (no(400, "Bad Request: chat not found"), ChatGone),
        (no(400, "Bad Request: group chat was upgraded to a supergroup chat"), ChatGone),
        (no(403, "Forbidden: bot was blocked by the user"), ChatGone),
        (no(403, "Forbidden: user is deactivated"), ChatGone),
        (no(401, "Unauthorized"), TokenRefused),
        (no(404, "Not Found"), TokenRefused),
        (Say(status=401, body=HTML), TokenRefused),
        (Say(status=400, body=no(400, "Bad Request: chat not found").body, cut=3), NotSent),
        (Say(status=403, body=HTML), NotSent),
        (Say(status=404, body=HTML), NotSent),
        (Say(status=413, body=b""), NotSent),
        (Say(status=302, headers="Location: http://127.0.0.1:1/\r\n"), NotSent),
        (no(400, "Bad Request: BUTTON_DATA_INVALID"), CallRefused),
        (no(400, "Bad Request: message is not modified"), CallRefused),
        (Say(body=no(403, "Forbidden: bot was kicked").body), ChatGone),
        (Say(body=b'{"ok": false}'), CallRefused),
    ],
)
async def test_each_answer_becomes_the_error_that_says_what_to_do(
    step: Step, error: type[TelegramError], injected: Counter[str]
) -> None:
    """Surely not sent, perhaps sent, refused text, dead chat, dead token and the rest are told apart."""
    injected[error.__name__] += 1
    assert type(await failure(step)) is error


async def test_no_answer_in_time_may_have_been_sent(injected: Counter[str]) -> None:
    """A request that was written and never answered is not called unsent."""
    injected["hang"] += 1
    assert type(await failure(Hang(), SHORT)) is MaybeSent


async def test_a_refused_connection_sent_nothing(injected: Counter[str]) -> None:
    """Where nobody listens nothing was sent."""
    injected["refused connection"] += 1
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
    async with client_of(url) as client:
        with pytest.raises(NotSent):
            await client.send_message(7, "hi")


@pytest.mark.parametrize("step", [Hang(), SENT], ids=["silent", "no TLS"])
async def test_an_unfinished_handshake_sent_nothing(step: Step, injected: Counter[str]) -> None:
    """A connection that never got through TLS carried no request."""
    injected["handshake"] += 1
    async with scripted_api(step) as api, client_of(api.url.replace("http:", "https:"), SHORT) as client:
        with pytest.raises(NotSent):
            await client.send_message(7, "hi")


@pytest.mark.parametrize(
    ("step", "retry_after_s"),
    [
        (no(429, "Too Many Requests", retry_after=300), 300.0),
        (Say(status=429, headers="Retry-After: 4\r\n"), 4.0),
        (Say(status=429, headers="Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n"), 0.0),
        (no(429, "Too Many Requests"), 0.0),
    ],
)
async def test_how_long_to_wait_is_passed_on(step: Step, retry_after_s: float) -> None:
    """The wait that Telegram asks for reaches the outbox; none is 0."""
    error = await failure(step)
    assert isinstance(error, NotSent)
    assert error.retry_after_s == retry_after_s


async def test_an_upgraded_group_says_where_it_went() -> None:
    """The supergroup's id comes with the error."""
    error = await failure(no(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1005))
    assert isinstance(error, ChatGone)
    assert error.migrate_to == -1005


async def test_half_a_surrogate_pair_is_refused_before_sending() -> None:
    """A text that is no Unicode is the text's fault, not the connection's."""
    async with scripted_api(SENT) as api, client_of(api.url) as client:
        with pytest.raises(TextRefused):
            await client.send_message(7, "\ud800")
    assert api.calls == []


@pytest.mark.parametrize("step", [Reset(), no(500, "x"), Say(body=HTML)])
async def test_a_message_is_never_sent_twice(step: Step) -> None:
    """Sending is not repeated here, whatever happens: the outbox decides."""
    async with scripted_api(step, SENT) as api, client_of(api.url) as client:
        with pytest.raises(TelegramError):
            await client.send_message(7, "hi")
    assert len(api.calls) == 1


@pytest.mark.parametrize("step", [Reset(), Reset(read=False), no(500, "x"), Say(body=HTML), no(429, "x")])
async def test_connect_is_repeated_and_learns_who_we_are(step: Step) -> None:
    """What may be asked twice is asked again, and getMe's answer is kept."""
    async with (
        scripted_api(step, ok({"id": 42, "is_bot": True, "first_name": "B", "username": "OurBot"})) as api,
        client_of(api.url) as client,
    ):
        assert client.identity == BotIdentity(42)
        await client.connect()
    assert client.identity == BotIdentity(42, "OurBot")


@pytest.mark.parametrize(
    ("step", "attempts"),
    [(no(500, "x"), 3), (no(401, "Unauthorized"), 1), (no(429, "x", retry_after=300), 1), (Reset(), 3)],
)
async def test_repetition_ends(step: Step, attempts: int) -> None:
    """Three attempts at most, one where another can't help or the wait is not ours to decide."""
    async with scripted_api(step) as api, client_of(api.url) as client:
        with pytest.raises(TelegramError):
            await client.connect()
    assert len(api.calls) == attempts


async def test_each_call_of_the_service_is_typed_both_ways() -> None:
    """Every other method sends what the Bot API names and reads what it gives."""
    info = {
        "url": "https://x",
        "pending_update_count": 2,
        "last_error_message": "e",
        "has_custom_certificate": False,
    }
    polled = [{"update_id": 5, "message": {"text": "a"}}, {"update_id": 6}]
    async with (
        scripted_api(ok(True), ok(True), ok(True), ok(True), ok(True), ok(info), ok(polled)) as api,
        client_of(api.url) as client,
    ):
        await client.send_typing(7)
        await client.set_webhook("https://x", "s3cret", max_connections=9)
        await client.delete_webhook(drop_pending=True)
        await client.set_my_commands([BotCommand("help", "Help")])
        answered = await client.answer_callback_query("c1", "done")
        webhook = await client.get_webhook_info()
        updates = await client.get_updates(5, wait_s=1)
    assert [(call.path.rpartition("/")[2], call.params) for call in api.calls] == [
        ("sendChatAction", {"chat_id": 7, "action": "typing"}),
        (
            "setWebhook",
            {
                "url": "https://x",
                "secret_token": "s3cret",
                "max_connections": 9,
                "drop_pending_updates": False,
                "allowed_updates": ["message", "callback_query"],
            },
        ),
        ("deleteWebhook", {"drop_pending_updates": True}),
        ("setMyCommands", {"commands": [{"command": "help", "description": "Help"}]}),
        ("answerCallbackQuery", {"callback_query_id": "c1", "text": "done"}),
        ("getWebhookInfo", {}),
        (
            "getUpdates",
            {"offset": 5, "timeout": 1, "limit": 100, "allowed_updates": ["message", "callback_query"]},
        ),
    ]
    assert answered is True
    assert webhook == WebhookInfo(url="https://x", pending_update_count=2, last_error_message="e")
    assert updates == (
        Polled(5, b'{"update_id": 5, "message": {"text": "a"}}'),
        Polled(6, b'{"update_id": 6}'),
    )


async def test_a_button_too_old_is_dropped_quietly() -> None:
    """After 150 s Telegram does not want the answer any more; that is no error."""
    old = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    async with (
        scripted_api(no(400, old), no(400, "Bad Request: MESSAGE_TOO_LONG")) as api,
        client_of(api.url) as client,
    ):
        assert await client.answer_callback_query("c1") is False
        with pytest.raises(TextRefused):
            await client.answer_callback_query("c1")


async def test_connections_are_reused_and_close_is_idempotent() -> None:
    """The second call pays for no connection; after close a call opens a new one."""
    async with scripted_api(SENT) as api, client_of(api.url) as client:
        numbers = await asyncio.gather(*(client.send_message(7, str(index)) for index in range(20)))
        await client.close()
        await client.close()
        again = await client.send_message(7, "hi")
    assert (numbers, again) == ([9] * 20, 9)


@pytest.mark.parametrize("url", ["", "api.telegram.org", "ftp://x", "http://", "https:///bot"])
def test_a_url_without_a_host_is_refused(url: str) -> None:
    """A wrong TELEGRAM_API_URL is found at the start."""
    with pytest.raises(ValueError, match=r"^the Bot API's URL must be"):
        TelegramClient(TOKEN, url)
