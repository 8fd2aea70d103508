"""Starts a container of a role as a process of its own, at a distance from stores and services, and tells its trips."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.settings import load
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_skills import FirestoreSkillStatsStore
from app.wiring import placed_session_cache
from contracts.codec import encode
from contracts.sessions import PatchSession, SessionPatch
from tests import commands
from tests.app.cold.said import UPDATE, Start, held_ms
from tests.app.llm.messages_api import MessagesApi, says
from tests.bench.meters import NoMeter
from tests.commands import ROOT
from tests.faultproxy import Fault, FaultProxy
from tests.modal_double import bare
from tests.trips import Trip, Trips, in_a_row

SEEN: Final = range(100, 105)  # chats; fewer than a start asks for without having read the image
FOR_EVER: Final = 1 << 60
BESIDE: Final = {
    "setMyCommands",
    "sendChatAction",
}  # a list of commands, a sign of life: nothing waits for them
WEIGHTY: Final = {"sqlite3", "unittest", "wsgiref"}
OURS: Final = {"actors", "app", "contracts", "modal_app", "tests"}
INTERPRETERS: Final = {"cython_runtime", "sitecustomize", "usercustomize"}  # imported by nobody's statement
CHILD_S: Final = (
    100.0  # a second or two; a machine ten times too busy takes half a minute for the imports alone
)
TOKEN: Final = "1:a-made-up-token"


class Measured(msgspec.Struct, frozen=True):
    """A start, all trips of it, what the container logged, and how far away all others were."""

    start: Start
    trips: list[Trip]
    log: list[dict[str, Any]]
    far_s: float

    @property
    def phases(self) -> list[str]:
        """Names, each once, in their order."""
        return list(dict.fromkeys(name for name, _, _ in self.start.spans))

    def row(self, phase: str) -> tuple[str, ...]:
        """The trips of a phase that were made one after another, but for those that it does not wait for."""
        spans = [(began, ended) for name, began, ended in self.start.spans if name == phase]
        return in_a_row(
            trip
            for trip in self.trips
            if trip.what not in BESIDE and any(began <= trip.began_s < ended for began, ended in spans)
        )

    def spent_ms(self, phase: str) -> float:
        """What the phase took by the clock, all spans of it."""
        return sum(ended - began for name, began, ended in self.start.spans if name == phase) * 1000

    def imported(self, moment: str) -> set[str]:
        """The packages of others that were there then, and the parts of the standard library that weigh."""
        return {_package(name) for name in self.start.modules[moment]} - {""}

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of that name."""
        return [line for line in self.log if line.get("event") == name]


async def measure(
    role: str, distance_s: float, environ: Mapping[str, str], home: Path, *places: Trips
) -> Measured:
    """Start it and give it its first request; `places` are those whose trips the container can't see."""
    child = await commands.run(
        *(sys.executable, "-W", "ignore", "-m", "tests.app.cold.child", role, str(distance_s)),
        within_s=CHILD_S,
        cwd=ROOT,
        env=bare(home) | {"MODAL_IS_REMOTE": "1", "FIRSTLIGHT_ADMIN_TOKEN": "token"} | dict(environ),
    )
    assert child.exit_code == 0, child.stderr
    start = msgspec.json.decode(child.stdout, type=Start)
    log = [json.loads(line) for line in child.stderr.splitlines() if line.startswith("{")]
    return Measured(start, [*start.trips, *(trip for place in places for trip in place)], log, distance_s)


@asynccontextmanager
async def far_firestore(
    host: str, project: str, distance_s: float
) -> AsyncIterator[tuple[dict[str, str], Trips]]:
    """The emulator at a distance; it has answered each kind of call before, as its first ones load classes."""
    async with AsyncExitStack() as stack:
        proxy = FaultProxy(host)
        await proxy.start()
        stack.push_async_callback(proxy.stop)
        database = FirestoreDatabase(project, emulator_host=host)
        await database.open()
        stack.push_async_callback(database.close)
        await FirestoreSessionStore(database, NoMeter()).recent_sessions(0, 1)
        await FirestoreSkillStatsStore(database, NoMeter()).read_stats(("none",))
        proxy.inject(Fault("delay", times=FOR_EVER, seconds=distance_s))
        yield emulated(proxy.host, project), proxy.trips


def emulated(host: str, project: str) -> dict[str, str]:
    """The settings of a store in the emulator, or behind what stands before it."""
    return {"FIRSTLIGHT_STORE": f"firestore://{project}", "FIRESTORE_EMULATOR_HOST": host}


async def leave_an_image(environ: Mapping[str, str]) -> None:
    """Have a shard write some sessions and end, so that the store holds its warm image."""
    placed = placed_session_cache(load(environ), 0)
    await placed.open()
    await placed.actor.start()
    for chat in SEEN:
        await placed.actor.ask(encode(PatchSession(chat=chat, patch=SessionPatch(mode="brief"))))
    await placed.stop()


@asynccontextmanager
async def far_services(distance_s: float) -> AsyncIterator[tuple[dict[str, str], Trips]]:
    """Telegram and a model at a distance, on loopback."""
    trips, api = Trips(), MessagesApi([says("Good morning to you, too.")])

    @web.middleware
    async def far(request: web.Request, handler: Any) -> web.StreamResponse:
        with trips.made(request.path.rpartition("/")[2]):
            await asyncio.sleep(distance_s)
            answer: web.StreamResponse = await handler(request)
            return answer

    app = web.Application(middlewares=[far])
    app.router.add_post("/bot{token}/{method}", _telegram)
    app.router.add_post("/v1/messages", api.messages)
    app.router.add_get("/v1/models/{model}", api.model)
    async with TestServer(app, host="127.0.0.1") as server:
        url = str(server.make_url("/")).rstrip("/")
        yield (
            {
                "TELEGRAM_API_URL": url,
                "TELEGRAM_BOT_TOKEN": TOKEN,
                "TELEGRAM_WEBHOOK_SECRET": "hook",
                "FIRSTLIGHT_MODEL": "anthropic:test",
                "ANTHROPIC_BASE_URL": url,
                "ANTHROPIC_API_KEY": "key",
            },
            trips,
        )


def _package(name: str) -> str:
    """The package to be counted: of Google's many, the second name says which; empty for one that is not counted."""
    top = name.partition(".")[0]
    if name in WEIGHTY:
        return name
    if top.startswith("_") or top in OURS or top in sys.stdlib_module_names or top in INTERPRETERS:
        return ""
    return (
        ".".join(name.split(".")[:2])
        if top == "google" and name != "google"
        else top
        if top != "google"
        else ""
    )


async def _telegram(request: web.Request) -> web.Response:
    results: dict[str, Any] = {
        "getMe": {"id": 1, "is_bot": True, "first_name": "F", "username": "f_bot"},
        "sendMessage": {"message_id": 1, "date": 1767225600, "chat": {"id": 7, "type": "private"}},
    }
    return web.json_response({"ok": True, "result": results.get(request.match_info["method"], True)})


async def serve(environ: Mapping[str, str], home: Path, *places: Trips) -> tuple[Measured, tuple[str, ...]]:
    """Run `firstlight serve` until it is ready and answers one message; gives also the row of trips until ready."""
    port = commands.free_port()
    service = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-W",
            "ignore",
            "-c",
            "from app.cli import main; main()",
            "serve",
            "--port",
            str(port),
        ),
        cwd=home,
        env=bare(home) | dict(environ),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CHILD_S), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            await _until_ready(http)
            ready = [trip for place in places for trip in place if trip.what not in BESIDE]
            await _say_good_morning(http)
            while not _is_answered(places):  # noqa: ASYNC110 - the list that tells it has no event
                await asyncio.sleep(0.01)
            held = held_ms(service.pid)
            service.terminate()
            _, logged = await service.communicate()
    finally:
        if service.returncode is None:
            service.kill()
            await service.wait()
    log = [json.loads(line) for line in logged.splitlines() if line.startswith(b"{")]
    return Measured(Start([], [], {}, held), [], log, 0.0), in_a_row(ready)


def _is_answered(places: tuple[Trips, ...]) -> bool:
    return any(trip.what == "sendMessage" for place in places for trip in place)


async def _until_ready(http: aiohttp.ClientSession) -> None:
    while True:
        try:
            async with http.get("/readyz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass  # it does not listen yet
        await asyncio.sleep(0.01)


async def _say_good_morning(http: aiohttp.ClientSession) -> None:
    headers = {"X-Telegram-Bot-Api-Secret-Token": "hook"}
    async with http.post("/webhook/telegram", json=UPDATE, headers=headers) as answer:
        assert answer.status == 200
