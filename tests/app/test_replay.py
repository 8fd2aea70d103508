"""`firstlight replay`: what is read of a recording, and how it is posted to a webhook over a real socket."""

import asyncio
import gzip
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from app.cli import cli
from app.recording import LINE_MOST, Malformed, Recorded, read_recording
from app.replay import RETRY_AFTER_MOST_S, RETRY_AFTER_S, TRIES, Replay
from app.runtime import SystemClock
from app.telegram.simulator import TelegramSimulator
from app.web.webhook import SECRET_HEADER
from tests.app.service_kit import REPLY_S, serving, settings
from tests.commands import free_port

SECRET = "replay-secret"


def update(number: int, chat: int = 7, text: str = "/help") -> dict[str, Any]:
    """A private message, as Telegram sends it."""
    person = {"id": chat, "is_bot": False, "first_name": "Ada"}
    place = {"id": chat, "type": "private", "first_name": "Ada"}
    message = {"message_id": number, "date": 1_700_000_000, "chat": place, "from": person, "text": text}
    return {"update_id": number, "message": message}


THREE = [update(1), update(2, chat=8), update(3)]
LINES = b"".join(json.dumps(each).encode() + b"\n" for each in THREE)


class Webhook:
    """A webhook that answers with the statuses of a script, then 200, and notes what it accepted."""

    def __init__(self) -> None:
        self.script: list[web.Response] = []
        self.accepted: defaultdict[int, list[int]] = defaultdict(list)
        self.secrets: set[str | None] = set()
        self.requests, self.running, self.most_running = 0, 0, 0

    async def handle(self, request: web.Request) -> web.Response:
        """Take a few turns of the loop, so that requests overlap."""
        self.requests += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.secrets.add(request.headers.get(SECRET_HEADER))
        body = await request.json()
        await asyncio.sleep(0.001 * (self.requests % 3))
        self.running -= 1
        if self.script:
            return self.script.pop(0)
        self.accepted[body["message"]["chat"]["id"]].append(body["update_id"])
        return web.Response()


class NotedClock(SystemClock):
    """A clock whose sleeps are noted and not slept."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def webhook() -> Webhook:
    """What the test's server answers with."""
    return Webhook()


@pytest.fixture
async def url(webhook: Webhook) -> AsyncIterator[str]:
    """The address of a server of the test's own."""
    application = web.Application()
    application.router.add_post("/webhook/telegram", webhook.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhook/telegram"
    await runner.cleanup()


@pytest.fixture
def clock() -> NotedClock:
    """Waits that take no time."""
    return NotedClock()


def _recording(updates: list[dict[str, Any]]) -> Iterator[Recorded]:
    for each in updates:
        yield Recorded(json.dumps(each).encode(), each["message"]["chat"]["id"], 0)


def _read(folder: Path, content: bytes) -> list[Recorded | Malformed]:
    file = folder / "recording"
    file.write_bytes(content)
    return list(read_recording(file))


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(LINES, id="lines"),
        pytest.param(LINES.rstrip(), id="no newline at the end"),
        pytest.param(b"\xef\xbb\xbf" + LINES, id="byte order mark"),
        pytest.param(LINES.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(b"\n\n" + LINES.replace(b"\n", b"\n \n"), id="blank lines"),
        pytest.param(json.dumps(THREE).encode(), id="array"),
        pytest.param(b"\n " + json.dumps(THREE, indent=2).encode() + b"\n", id="indented array"),
        pytest.param(gzip.compress(LINES), id="gzip of lines"),
        pytest.param(gzip.compress(json.dumps(THREE).encode()), id="gzip of an array"),
    ],
)
def test_every_form_of_a_recording_gives_the_same_updates(tmp_path: Path, content: bytes) -> None:
    """JSON lines and arrays, plain and packed, as editors and tools leave them."""
    read = [each for each in _read(tmp_path, content) if isinstance(each, Recorded)]
    assert THREE == [json.loads(each.body) for each in read]
    assert [7, 8, 7] == [each.lane for each in read]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"7",
        b'"text"',
        b'{"message": {}}',
        b'{"update_id": "7"}',
        b'{"update_id": 1.5}',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"update_id": 9, "message": "' + b"x" * LINE_MOST + b'"}',
    ],
    ids=lambda line: repr(line[:20]),
)
def test_a_malformed_line_is_named_and_the_others_are_read(tmp_path: Path, line: bytes) -> None:
    """By its line number; one bad line spoils no other, also the first one."""
    first = _read(tmp_path, line + b"\n" + LINES)
    third = _read(tmp_path, LINES[: LINES.index(b"\n") + 1] + b"\n" + line + b"\n" + LINES)
    assert ["line 1"] == [each.place for each in first if isinstance(each, Malformed)]
    assert ["line 3"] == [each.place for each in third if isinstance(each, Malformed)]
    assert [3, 4] == [sum(isinstance(each, Recorded) for each in read) for read in (first, third)]


def test_a_malformed_element_is_named(tmp_path: Path) -> None:
    """An array has no lines that say anything."""
    read = _read(tmp_path, json.dumps([update(1), {"message": {}}, update(2)]).encode())
    assert ["element 2"] == [each.place for each in read if isinstance(each, Malformed)]


def test_a_damaged_archive_gives_what_can_be_read(tmp_path: Path) -> None:
    """And says that this is not all."""
    many = b"".join(
        json.dumps(update(number, text=f"{number**9}")).encode() + b"\n" for number in range(5000)
    )
    *read, last = _read(tmp_path, gzip.compress(many)[:-2000])
    assert len(read) > 100
    assert isinstance(last, Malformed)
    assert "damaged" in last.reason


@pytest.mark.parametrize(
    ("content", "lane"),
    [
        ({"edited_message": {"chat": {"id": -100}}}, -100),
        ({"callback_query": {"id": "1", "message": {"chat": {"id": 5}}}}, 5),
        ({"my_chat_member": {"chat": {"id": 6}}}, 6),
        ({"inline_query": {"id": "1"}}, 9),
        ({"message": {"chat": "7"}}, 9),
        ({}, 9),
    ],
)
def test_an_update_belongs_to_its_chat(tmp_path: Path, content: dict[str, Any], lane: int) -> None:
    """Whatever its kind; one without a chat waits for nobody."""
    (read,) = _read(tmp_path, json.dumps({"update_id": 9} | content).encode())
    assert isinstance(read, Recorded)
    assert lane == read.lane


# ---------------------------------------------------------------- posting


async def test_a_chats_updates_arrive_in_order_and_chats_at_once(webhook: Webhook, url: str) -> None:
    """At most as many at once as there are connections, each chat's one after another."""
    updates = [update(number, chat=number % 10) for number in range(200)]
    replayed = await Replay(url, SECRET, connections=4).run(_recording(updates))
    assert {chat: list(range(chat, 200, 10)) for chat in range(10)} == webhook.accepted
    assert (True, 200, 0) == (replayed.ok, replayed.accepted, replayed.retried)
    assert 1 < webhook.most_running <= 4
    assert {SECRET} == webhook.secrets


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("told", "waited_s"),
    [("3", 3.0), ("86400", RETRY_AFTER_MOST_S), (None, RETRY_AFTER_S), ("soon", RETRY_AFTER_S)],
)
async def test_a_busy_service_is_asked_again_when_it_says(
    webhook: Webhook, url: str, clock: NotedClock, status: int, told: str | None, waited_s: float
) -> None:
    """After its Retry-After, within bounds; the order stays."""
    headers = {"Retry-After": told} if told else None
    webhook.script = [web.Response(status=status, headers=headers) for _ in range(2)]
    replayed = await Replay(url, SECRET, clock=clock).run(_recording([update(1), update(2)]))
    assert ([waited_s] * 2, [1, 2]) == (clock.slept, webhook.accepted[7])
    assert (True, 2, 2) == (replayed.ok, replayed.accepted, replayed.retried)


async def test_a_service_that_stays_busy_is_given_up(webhook: Webhook, url: str, clock: NotedClock) -> None:
    """After a bounded number of attempts, with the last status."""
    webhook.script = [web.Response(status=503) for _ in range(TRIES)]
    replayed = await Replay(url, SECRET, clock=clock).run(_recording([update(1), update(2)]))
    assert (False, 1, {"503": 1}) == (replayed.ok, replayed.accepted, replayed.refused)
    assert TRIES - 1 == replayed.retried


@pytest.mark.parametrize("status", [401, 413, 500])
async def test_a_refusal_is_counted_by_status_and_not_repeated(
    webhook: Webhook, url: str, clock: NotedClock, status: int
) -> None:
    """A retry can't help."""
    webhook.script = [web.Response(status=status)]
    replayed = await Replay(url, SECRET, clock=clock).run(_recording([update(1), update(2)]))
    assert (False, {str(status): 1}, 2) == (replayed.ok, replayed.refused, webhook.requests)


async def test_without_a_service_the_rest_is_not_tried(clock: NotedClock) -> None:
    """One update waits for it in vain; nobody waits for hours."""
    url = f"http://127.0.0.1:{free_port()}/webhook/telegram"
    replayed = await Replay(url, SECRET, clock=clock).run(_recording([update(each) for each in range(300)]))
    assert (False, 1, 299) == (replayed.ok, replayed.unreachable, replayed.unsent)


# ---------------------------------------------------------------- the command


async def _replay(file: Path, *words: str) -> Result:
    environ = {"TELEGRAM_WEBHOOK_SECRET": SECRET}
    return await asyncio.to_thread(CliRunner().invoke, cli, ["replay", str(file), *words], env=environ)


async def test_a_clean_replay_exits_with_0(webhook: Webhook, url: str, tmp_path: Path) -> None:
    """With a table for people, and one JSON document for others."""
    file = tmp_path / "updates.jsonl"
    file.write_bytes(LINES)
    shown = await _replay(file, "--url", url)
    told = await _replay(file, "--url", url.removesuffix("/webhook/telegram"), "--json")
    assert [0, 0] == [shown.exit_code, told.exit_code]
    assert "accepted" in shown.stdout
    assert {"ok": True, "accepted": 3, "refused": {}}.items() <= json.loads(told.stdout).items()
    assert [1, 3, 1, 3] == webhook.accepted[7]


async def test_a_malformed_line_fails_the_replay_and_is_named_on_stderr(
    webhook: Webhook, url: str, tmp_path: Path
) -> None:
    """One line for each, and the others are posted."""
    file = tmp_path / "updates.jsonl"
    file.write_bytes(b"nonsense\n" + LINES + b"{}\n")
    ended = await _replay(file, "--url", url, "--json")
    assert 1 == ended.exit_code
    assert 2 == json.loads(ended.stdout)["malformed"]
    assert ["line 1:", "line 5:"] == [
        line[:7] for line in ended.stderr.splitlines() if line.startswith("line")
    ]


async def test_a_failed_replay_says_why_in_one_line(webhook: Webhook, url: str, tmp_path: Path) -> None:
    """Exit 1 never comes without a word on stderr, whatever stdout is read by."""
    file = tmp_path / "updates.jsonl"
    file.write_bytes(LINES + b"{}\n")
    webhook.script = [web.Response(status=401)]
    ended = await _replay(file, "--url", url, "--json")
    why = f"firstlight: not all of {file} was accepted: 1 refused with 401, 1 malformed"
    assert (1, why) == (ended.exit_code, ended.stderr.splitlines()[-1])


@pytest.mark.parametrize("words", [("--url", "ftp://x"), ("--connections", "0"), ("--bogus",)])
async def test_wrong_usage_of_replay_exits_with_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Wrong words are told apart from a failed replay."""
    file = tmp_path / "updates.jsonl"
    file.write_bytes(LINES)
    assert 2 == (await _replay(file, *words)).exit_code
    assert 2 == (await _replay(tmp_path / "nowhere")).exit_code


async def test_a_service_answers_a_replayed_conversation_once(tmp_path: Path) -> None:
    """Through the real webhook: the first replay is answered, the second is known by its update ids."""
    file = tmp_path / "updates.json.gz"
    file.write_bytes(gzip.compress(json.dumps([update(10 + each) for each in range(3)]).encode()))
    async with TelegramSimulator() as telegram:
        telegram.open_chat(chat=7)
        async with serving(telegram, settings(tmp_path)) as service:
            secret = msgspec.structs.asdict(service.settings)["webhook_secret"].reveal()
            url = f"{service.url}/webhook/telegram"
            for _ in range(2):
                replayed = await Replay(url, secret).run(read_recording(file))
                assert (True, 3) == (replayed.ok, replayed.accepted)
                await telegram.wait_for_reply(7, 3, REPLY_S)
        assert 3 == len(telegram.replies(7))
