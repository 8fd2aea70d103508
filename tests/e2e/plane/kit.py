"""Firstlight on a plane of its own, with a simulated Telegram before and behind it."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

from actors.meter import Meter
from actors.stores import SessionStore
from app.chaos.siege.crowd import Crowd
from app.chaos.siege.judging import Watched, collect, judge
from app.chaos.siege.siege import until_all_ended
from app.chaos.siege.stage import PACE
from app.fleet import AGENT, GATEWAY, SESSIONS, SKILLS
from app.plane import ContainerInfo, Options, Plane
from app.settings import load
from app.store.database import choose
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_ports import ScaledClock
from contracts.codec import read_stats, read_warm_report
from contracts.warming import ActorStats, WarmReport
from tests.app.plane.kit import Deployed, running, until
from tests.e2e.kit import SECRET
from tests.e2e.plane.timed import Took
from tests.e2e.plane.tree import BEGAN, HOLD

APP: Final = "claude-agents"
ACTORS: Final = (SKILLS, SESSIONS, AGENT)
REPLY_S: Final = 40.0  # containers are cold processes, and the machine may be busy
SETTLE_S: Final = 50.0  # a dead owner's lease lasts 15 s, and the schedule looks every 10 s


class OnPlane:
    """The app on a plane: deployed, scaled, talked to and asked how it does."""

    def __init__(self, deployed: Deployed, telegram: TelegramSimulator, store: str) -> None:
        self.deployed, self.telegram, self.store = deployed, telegram, store
        self.home = deployed.home
        self.hold, self.began = self.home / "hold", self.home / "began"
        self.first_deploy: Took | None = None
        self._crowd = Crowd(telegram, random.Random(0))

    @property
    def plane(self) -> Plane:
        """Where it runs."""
        return self.deployed.plane

    async def deploy(self, tree: Path, **settings: str) -> None:
        """`modal deploy modal_app.py` of that tree, with these settings in its environment."""
        environ = {"PYTHONPATH": str(tree), "TELEGRAM_API_URL": self.telegram.url} | settings
        await self.deployed.modal("deploy", str(tree / "modal_app.py"), **environ)

    def containers(self, function: str, state: str = "ready") -> list[ContainerInfo]:
        """Those of a function in that state."""
        return [each for each in self.plane.containers(function) if each.state == state]

    def versions(self, function: str) -> set[int]:
        """Of those that are ready or about to end: numbers of the deploys that they came with, 1 the first."""
        return {each.version for each in self.plane.containers(function) if each.state != "starting"}

    async def scaled(self, function: str, count: int) -> None:
        """Wait until it has that many containers, all of them ready."""
        await until(lambda: len(self.containers(function)) == len(self.plane.containers(function)) == count)

    async def one_ready(self, function: str) -> None:
        """Wait until it has a container that is ready."""
        await until(lambda: bool(self.containers(function)))

    async def gone(self, container: ContainerInfo) -> None:
        """Wait until its process is."""
        await until(lambda: container.id not in {each.id for each in self.plane.containers()})

    async def open_webhook(self, url: str = "") -> None:
        """Have Telegram deliver to the gateway, once that is ready, or to another address."""
        if not url:
            await self.one_ready(GATEWAY)
        await point_webhook(self.telegram, url or self.plane.address(GATEWAY))

    def actor(self, name: str, **parameters: Any) -> Any:
        """An actor, as an admin script has it."""
        return self.deployed.cls(name, APP)(**parameters)

    async def warm(self, name: str, **parameters: Any) -> WarmReport:
        """What it says to `warm`."""
        return read_warm_report(await self.actor(name, **parameters).warm.remote.aio())

    async def stats(self, name: str, **parameters: Any) -> ActorStats:
        """What it says to `stats`."""
        return read_stats(await self.actor(name, **parameters).stats.remote.aio())

    # ------------------------------------------------------------ people

    def say(self, chats: Iterable[int]) -> None:
        """In each of the chats somebody writes the next message, whose answer tells which one was before."""
        for chat in chats:
            self._crowd.write(chat)

    async def replies(self, chats: Iterable[int]) -> dict[int, list[str]]:
        """Wait until everything that was said there has a reply, and give the replies' texts."""
        told = {
            chat: await self.telegram.wait_for_reply(chat, self._crowd.said[chat], REPLY_S) for chat in chats
        }
        return {chat: [reply.text for reply in replies] for chat, replies in told.items()}

    async def judge(self) -> list[str]:
        """Wait until every message has come to its end, and say what is lost, doubled, late or out of order."""
        database = choose(load({"FIRSTLIGHT_STORE": self.store}))
        await database.open()
        store = database.sessions(Meter())
        try:
            with suppress(TimeoutError):  # what has no end by then is named
                await self._settle(store)
            left = await collect(database, self.telegram, self._crowd.said)
        finally:
            await store.close()
        verdict = judge(Watched(said=self._crowd.said, accepted=(), sending=(), lost_answers=0), left)
        others = [
            f"message {each.update} is {each.state}" for each in left.records if each.state != "answered"
        ]
        stale = [f"{verdict.stale} answers know nothing of the message before"] if verdict.stale else []
        return [*map(str, verdict.problems), *others, *stale]

    # ------------------------------------------------------------ helpers

    async def _settle(self, store: SessionStore) -> None:
        async with asyncio.timeout(SETTLE_S):
            await self.telegram.updates.idle()
            await until_all_ended(store)


@asynccontextmanager
async def on_plane(home: Path, **options: Any) -> AsyncIterator[OnPlane]:
    """A plane on which nothing is deployed yet; it ends with the block."""
    store = f"sqlite:///{home}/firstlight.db"
    async with TelegramSimulator(clock=ScaledClock(PACE)) as telegram:
        told = Options(
            secrets=_secrets(store, telegram),
            environ={HOLD: str(home / "hold"), BEGAN: str(home / "began")},
            **options,
        )
        async with running(home, told) as deployed:
            yield OnPlane(deployed, telegram, store)


async def point_webhook(telegram: TelegramSimulator, url: str) -> None:
    """Tell Telegram where to deliver."""
    body = {"url": f"{url}/webhook/telegram", "secret_token": SECRET}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{telegram.url}/bot{telegram.token}/setWebhook", json=body) as answer,
    ):
        answer.raise_for_status()


def _secrets(store: str, telegram: TelegramSimulator) -> dict[str, dict[str, str]]:
    """What the app's three secrets hold here."""
    return {
        "firstlight-store": {"FIRSTLIGHT_STORE": store},
        "firstlight-telegram": {"TELEGRAM_BOT_TOKEN": telegram.token, "TELEGRAM_WEBHOOK_SECRET": SECRET},
        "firstlight-model": {"FIRSTLIGHT_MODEL": "offline"},
    }
