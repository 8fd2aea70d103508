"""How updates leave the simulator: pushed to a webhook over HTTP, or fetched by getUpdates."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_faults import DeliveryFault
from app.telegram.simulator_people import Button
from app.telegram.simulator_ports import ScaledClock
from tests.waiting import until

FAST = 1000.0  # a minute in 60 ms
SECRET = "a-Secret_1"


class Webhook:
    """A bot's webhook on a loopback port: notes what comes, answers from a script, then 200."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.script: list[web.Response] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers.get("X-Telegram-Bot-Api-Secret-Token"))
        self.updates.append(await request.json())
        return self.script.pop(0) if self.script else web.Response(status=204)

    def ids(self) -> Sequence[int]:
        return [each["update_id"] for each in self.updates]


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    """A webhook that runs."""
    hook = Webhook()
    app = web.Application()
    app.router.add_post("/hook", hook.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield hook
    await runner.cleanup()


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramSimulator]:
    """A simulator whose minutes last 60 ms."""
    async with TelegramSimulator(clock=ScaledClock(FAST), first_update_id=1) as running:
        yield running


async def _call(telegram: TelegramSimulator, method: str, **arguments: Any) -> Any:
    url = f"{telegram.url}/bot{telegram.token}/{method}"
    async with aiohttp.ClientSession() as http, http.post(url, json=arguments) as answer:
        return await answer.json()


async def _idle(telegram: TelegramSimulator) -> None:
    async with asyncio.timeout(5):
        await telegram.updates.idle()


async def test_updates_come_with_the_secret_and_any_2xx_confirms_them(
    telegram: TelegramSimulator, webhook: Webhook
) -> None:
    """What waited is delivered once the webhook is set, in order, with the secret's header."""
    telegram.say(7, "one")
    telegram.say(7, "two")
    assert (await _call(telegram, "setWebhook", url=webhook.url, secret_token=SECRET))["result"] is True
    await _idle(telegram)
    assert [each["message"]["text"] for each in webhook.updates] == ["one", "two"]
    assert webhook.headers == [SECRET, SECRET]
    assert (await _call(telegram, "getWebhookInfo"))["result"]["pending_update_count"] == 0


async def test_a_refused_update_comes_again_and_the_error_is_told(
    telegram: TelegramSimulator, webhook: Webhook
) -> None:
    """503 with Retry-After is redelivered; getWebhookInfo gives the last error in Telegram's words."""
    webhook.script = [web.Response(status=503, headers={"Retry-After": "2"}), web.Response(status=302)]
    await _call(telegram, "setWebhook", url=webhook.url)
    telegram.say(7, "one")
    await _idle(telegram)
    assert webhook.ids() == [1, 1, 1]
    info = (await _call(telegram, "getWebhookInfo"))["result"]
    assert info["last_error_message"] == "Wrong response from the webhook: 302 Found"
    assert (info["max_connections"], info["last_error_date"] > 0) == (40, True)


async def test_a_closed_port_is_a_failed_attempt(telegram: TelegramSimulator, webhook: Webhook) -> None:
    """Nobody listening keeps the update; it arrives when the webhook is back."""
    await _call(telegram, "setWebhook", url="http://127.0.0.1:9/hook")
    telegram.say(7, "one")
    await until(lambda: telegram.updates.last_error)
    assert telegram.updates.last_error == "Connection refused"
    await _call(telegram, "setWebhook", url=webhook.url)
    await _idle(telegram)
    assert webhook.ids() == [1]


async def test_a_concurrent_duplicate_reaches_the_webhook_twice(
    telegram: TelegramSimulator, webhook: Webhook
) -> None:
    """The fault shows on the wire, and is counted."""
    telegram.faults.add(DeliveryFault(kind="duplicate_at_once"))
    await _call(telegram, "setWebhook", url=webhook.url)
    telegram.say(7, "one")
    await _idle(telegram)
    assert webhook.ids() == [1, 1]
    counts = telegram.updates.counts
    assert (counts.updates, counts.attempts, counts.duplicates, counts.delivered) == (1, 2, 1, 1)


async def test_pending_updates_can_be_dropped(telegram: TelegramSimulator, webhook: Webhook) -> None:
    """drop_pending_updates forgets what waits, and nothing that comes later."""
    telegram.say(7, "old")
    await _call(telegram, "setWebhook", url=webhook.url, drop_pending_updates=True)
    telegram.say(7, "new")
    await _idle(telegram)
    assert webhook.ids() == [2]


async def test_only_wanted_kinds_are_queued(telegram: TelegramSimulator, webhook: Webhook) -> None:
    """allowed_updates names the kinds that come; others make no update."""
    await _call(telegram, "setWebhook", url=webhook.url, allowed_updates=["callback_query"])
    assert telegram.say(7, "not wanted").update_id == 0
    reply = (await _call(telegram, "sendMessage", chat_id=7, text="x"))["result"]["message_id"]
    telegram.press(Button(7, reply, "More", "more"))
    await _idle(telegram)
    assert [sorted(each) for each in webhook.updates] == [["callback_query", "update_id"]]


@pytest.mark.parametrize(
    ("arguments", "description"),
    [
        ({"url": "ftp://127.0.0.1/"}, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook"),
        (
            {"url": "http://example.org/"},
            "Bad Request: bad webhook: the simulator delivers to loopback addresses only",
        ),
        (
            {"url": "http://127.0.0.1:1/", "secret_token": "no spaces"},
            "Bad Request: secret token contains unallowed characters",
        ),
        ({"url": "http://127.0.0.1:1/", "secret_token": "a" * 257}, "Bad Request: secret token is too long"),
    ],
)
async def test_a_bad_webhook_is_refused(
    telegram: TelegramSimulator, arguments: dict[str, Any], description: str
) -> None:
    """A webhook elsewhere, or a secret that Telegram does not take, is not set."""
    assert (await _call(telegram, "setWebhook", **arguments))["description"] == description
    assert (await _call(telegram, "getWebhookInfo"))["result"]["url"] == ""


async def test_polling_gives_updates_until_an_offset_confirms_them(telegram: TelegramSimulator) -> None:
    """The same updates come again until an offset above them was asked for; limit and negative offsets count."""
    for text in ("a", "b", "c"):
        telegram.say(7, text)

    async def ids(**arguments: Any) -> Sequence[int]:
        return [each["update_id"] for each in (await _call(telegram, "getUpdates", **arguments))["result"]]

    assert await ids() == [1, 2, 3]
    assert await ids(limit=2) == [1, 2]
    assert await ids(offset=2) == [2, 3]
    assert await ids() == [2, 3]
    assert await ids(offset=-1) == [3]
    assert await ids(offset=4) == []


async def test_a_long_poll_ends_with_the_next_update_or_its_timeout(telegram: TelegramSimulator) -> None:
    """A poll waits for what comes, and gives nothing after its timeout."""
    assert (await _call(telegram, "getUpdates", timeout=5))["result"] == []
    async with TelegramSimulator() as slow:  # its 50 s are longer than this test may take
        waiting = asyncio.create_task(_call(slow, "getUpdates", timeout=50))
        await until(lambda: slow.api.polling)
        slow.say(7, "now")
        async with asyncio.timeout(5):
            assert [each["message"]["text"] for each in (await waiting)["result"]] == ["now"]


async def test_there_is_one_reader_of_updates(telegram: TelegramSimulator, webhook: Webhook) -> None:
    """A second poll ends the first with 409, and so does a webhook, which then refuses polls."""
    async with TelegramSimulator() as slow:
        first = asyncio.create_task(_call(slow, "getUpdates", timeout=50))
        await until(lambda: slow.api.polling)
        second = asyncio.create_task(_call(slow, "getUpdates", timeout=50))
        ended = await first
        assert (ended["error_code"], ended["description"]) == (
            409,
            "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
        )
        await _call(slow, "setWebhook", url=webhook.url)
        assert (await second)["description"] == "Conflict: terminated by setWebhook request"
        refused = await _call(slow, "getUpdates")
        assert refused["description"].startswith(
            "Conflict: can't use getUpdates method while webhook is active"
        )
        await _call(slow, "deleteWebhook")
        assert (await _call(slow, "getUpdates"))["ok"] is True


async def test_raw_updates_pass_unchanged(telegram: TelegramSimulator) -> None:
    """Any JSON can be an update, also one of a kind that nobody knows, with an id of its own."""
    assert telegram.raw_update({"purchased_moon": {"from": None}}) == 1
    assert telegram.raw_update({"update_id": 99, "message": {"chat": {"id": 2**53}}}) == 99
    got = (await _call(telegram, "getUpdates"))["result"]
    assert got == [
        {"update_id": 1, "purchased_moon": {"from": None}},
        {"update_id": 99, "message": {"chat": {"id": 2**53}}},
    ]
