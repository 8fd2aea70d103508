"""A web service on a loopback port, whose actors answer what a test tells them to."""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp.web
import msgspec

from actors.ports import Clock, TelegramError, Transport
from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef
from app.fleet import AGENT, SESSIONS, SKILLS, Fleet
from app.metrics import Metrics
from app.runtime import Tasks
from app.telegram.addressing import BotIdentity
from app.web.server import WebParts, WebServer, create_app
from app.web.webhook import SECRET_HEADER, WebhookRules
from contracts.base import Message
from contracts.chat import TakeTurn
from contracts.codec import encode, read_chat_request, read_session_request, read_warm
from contracts.sessions import AcceptUpdate, UpdateAccepted
from contracts.warming import ActorStats, Warm, WarmReport

SECRET = "the-webhook-secret_1"
TOKEN = "the-admin-token"
BOT = 4242
WEBHOOK = "/webhook/telegram"

Answer = Message | Exception | asyncio.Event
"""What an actor does when it is asked: answer, raise, or wait for ever (until the event)."""


class Scripted(Transport):
    """An actor that notes what it is asked and answers from a script."""

    def __init__(self, actor: str, shard: int | None = None) -> None:
        self.reply: Answer = UpdateAccepted(waiting=1)
        self.told_reply: Answer | None = None
        self.report: Answer = WarmReport(actor=actor, shard=shard, status="warm")
        self.statistics: Answer = ActorStats(
            actor=actor, shard=shard, warm=WarmReport(actor=actor, shard=shard, status="warm")
        )
        self.asked: list[Message] = []
        self.told: list[Message] = []
        self.warmed: list[Warm] = []
        self.stats_asked = 0

    async def ask(self, frame: bytes) -> bytes:
        self.asked.append(read_session_request(frame))
        return await _give(self.reply)

    async def tell(self, frame: bytes) -> None:
        self.told.append(read_chat_request(frame))
        if self.told_reply is not None:
            await _give(self.told_reply)

    async def warm(self, frame: bytes = b"") -> bytes:
        self.warmed.append(read_warm(frame) if frame else Warm())
        return await _give(self.report)

    async def stats(self) -> bytes:
        self.stats_asked += 1
        return await _give(self.statistics)


class ManualClock(Clock):
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic_s(self) -> float:
        return self.now

    def unix_s(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class AnsweredCallbacks:
    """A Telegram client that notes the callbacks it is to answer."""

    def __init__(self) -> None:
        self.answered: list[str] = []
        self.failure: TelegramError | None = None

    async def answer_callback_query(self, query: str) -> bool:
        self.answered.append(query)
        if self.failure is not None:
            raise self.failure
        return True


class Answered(NamedTuple):
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Service:
    """The service under test and what stands around it."""

    skills: Scripted
    shards: Sequence[Scripted]
    agent: Scripted
    tasks: Tasks
    metrics: Metrics
    clock: ManualClock
    callbacks: AnsweredCallbacks
    http: aiohttp.ClientSession
    server: WebServer
    app: aiohttp.web.Application
    identity: list[BotIdentity | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def post(self, body: object, headers: Mapping[str, str] | None = None) -> Answered:
        """Deliver an update as Telegram does; `headers` replace or add."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = {SECRET_HEADER: SECRET, "Content-Type": "application/json"} | dict(headers or {})
        async with self.http.post(self.url + WEBHOOK, data=io.BytesIO(data), headers=sent) as response:
            return Answered(response.status, response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> tuple[int, bytes]:
        async with self.http.get(self.url + path, **more) as response:
            return response.status, await response.read()

    async def settle(self) -> None:
        """Let what was spawned run to its end."""
        for _ in range(200):
            if not len(self.tasks):
                return
            await asyncio.sleep(0.005)
        raise AssertionError("background work did not end")

    @property
    def accepted(self) -> list[AcceptUpdate]:
        """What all shards were asked to accept."""
        return [m for shard in self.shards for m in shard.asked if isinstance(m, AcceptUpdate)]

    @property
    def tickets(self) -> list[TakeTurn]:
        """The turns that the agent was told to take."""
        return [m for m in self.agent.told if isinstance(m, TakeTurn)]

    def counted(self, kind: str, outcome: str) -> int:
        """How many updates of that kind and outcome were counted."""
        return self.metrics.updates.of(kind, outcome)

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A raw connection, for clients that no HTTP library can play."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):  # the server may have reset it
                await writer.wait_closed()


@asynccontextmanager
async def service(
    *,
    shards: int = 1,
    allowed: frozenset[int] | None = None,
    admin_token: bytes | None = TOKEN.encode(),
    body_deadline_s: float = 5.0,
    accept_deadline_s: float = 2.0,
    keepalive_s: float = 30.0,
    warm_deadline_s: float = 5.0,
    slow_warm: asyncio.Event | None = None,
    warm_failure: Exception | None = None,
) -> AsyncIterator[Service]:
    """Run the service on a free loopback port."""
    skills, agent = Scripted(SKILLS), Scripted(AGENT)
    skills.report = slow_warm or warm_failure or skills.report
    sessions = [Scripted(SESSIONS, shard) for shard in range(shards)]
    identity: list[BotIdentity | None] = [BotIdentity(BOT, "firstlight_bot")]
    tasks, metrics, clock, callbacks = Tasks(), Metrics(), ManualClock(), AnsweredCallbacks()
    refs = [SessionShardRef(f"{SESSIONS}[{n}]", transport) for n, transport in enumerate(sessions)]
    parts = WebParts(
        fleet=Fleet(SkillRegistryRef(SKILLS, skills), SessionsRef(refs), ChatAgentRef(AGENT, agent)),
        rules=WebhookRules(
            secret=SECRET.encode(),
            bot=BOT,
            allowed_users=allowed,
            body_deadline_s=body_deadline_s,
            accept_deadline_s=accept_deadline_s,
        ),
        identity=lambda: identity[-1],
        background=tasks,
        metrics=metrics,
        clock=clock,
        callbacks=callbacks,
        admin_token=admin_token,
        warm_deadline_s=warm_deadline_s,
    )
    app = create_app(parts)
    server = WebServer(app, "127.0.0.1", 0, keepalive_s)
    await server.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            yield Service(
                skills, sessions, agent, tasks, metrics, clock, callbacks, http, server, app, identity
            )
    finally:
        await server.stop()


def message(
    update: int = 1, *, chat: int = 7, kind: str = "private", user: int = 7, text: str = "hello"
) -> dict[str, Any]:
    """An update with a text."""
    return {
        "update_id": update,
        "message": {
            "message_id": 5,
            "date": 1_700_000_000,
            "chat": {"id": chat, "type": kind},
            "from": {"id": user, "is_bot": False, "first_name": "Ada"},
            "text": text,
        },
    }


def callback(update: int = 1, *, data: str = "mode:fast") -> dict[str, Any]:
    """An update for a pressed button."""
    return {
        "update_id": update,
        "callback_query": {
            "id": "cb-1",
            "from": {"id": 7, "is_bot": False, "first_name": "Ada"},
            "message": {"message_id": 5, "date": 1_700_000_000, "chat": {"id": 7, "type": "private"}},
            "chat_instance": "1",
            "data": data,
        },
    }


def head(*lines: str, method: str = "POST", path: str = WEBHOOK) -> bytes:
    """The head of a raw request, with the right secret and content type."""
    fixed = ("Host: x", f"{SECRET_HEADER}: {SECRET}", "Content-Type: application/json")
    return "\r\n".join((f"{method} {path} HTTP/1.1", *fixed, *lines, "", "")).encode()


async def _give(answer: Answer) -> bytes:
    match answer:
        case asyncio.Event():
            await answer.wait()
            raise AssertionError("nobody waits that long")
        case Exception():
            raise answer
        case _:
            return encode(answer)
