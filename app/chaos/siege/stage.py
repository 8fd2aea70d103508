"""What is besieged: a plane with the app deployed to it by Modal's client, an empty store, and a simulated Telegram."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from app.chaos.siege.crowd import ASK
from app.chaos.siege.printed import Printed
from app.chaos.siege.watching import Sends
from app.fleet import AGENT, GATEWAY, SESSIONS, SKILLS
from app.plane import ContainerInfo, Plane
from app.plane.logs import Listener
from app.scale.desired import FILE
from app.settings import Settings
from app.store.database import Database, choose
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_delivery import Deliver, Outcome
from app.telegram.simulator_methods import Webhook
from app.telegram.simulator_ports import ScaledClock
from app.up.deploying import find_app_file
from app.up.session import Session

PACE: Final = 4.0  # times faster than real: Telegram waits up to two minutes before it delivers again
POLL_S: Final = 0.05  # the plane tells nobody when a container's state changes
READY_S: Final = 60.0  # containers are cold processes, and the machine may be busy
SHARDS: Final = 2
LIMITS: Final[Mapping[str, int]] = {SKILLS: 1, SESSIONS: 1, AGENT: 1}
"""The most containers of one pool."""
SETTINGS: Final[Mapping[str, str]] = {
    "FIRSTLIGHT_LOG_LEVEL": "debug",  # agents tell which turns they claim, and nothing is to leak there either
    "FIRSTLIGHT_SHARDS": str(SHARDS),
    "FIRSTLIGHT_SKILL_REGISTRY_MAX_CONTAINERS": str(LIMITS[SKILLS]),
    "FIRSTLIGHT_SESSION_CACHE_MAX_CONTAINERS": str(LIMITS[SESSIONS]),
    "FIRSTLIGHT_CHAT_AGENT_MAX_CONTAINERS": str(LIMITS[AGENT]),
    "FIRSTLIGHT_SESSION_CACHE_SCALEDOWN_WINDOW": "2",  # seconds; a second owner comes to its end
    "FIRSTLIGHT_CHAT_AGENT_SCALEDOWN_WINDOW": "2",
}
VOLUME: Final = Path("plane/volumes/firstlight-skills")
LONG_LIST: Final = 40
"""Skills whose list takes three messages."""


class AttentiveTelegram(TelegramSimulator):
    """A simulated Telegram that knows which updates were answered 200."""

    def __init__(self) -> None:
        self.accepted: set[int] = set()
        super().__init__(clock=ScaledClock(PACE))

    def _delivery(self, webhook: Webhook) -> Deliver:
        deliver = super()._delivery(webhook)

        async def noted(body: bytes) -> Outcome:
            outcome = await deliver(body)
            if outcome.delivered:
                self.accepted.add(_numbered(body).update_id)
            return outcome

        return noted


class Stage:
    """The running whole."""

    def __init__(
        self,
        session: Session,
        telegram: AttentiveTelegram,
        database: Database,
        printed: Printed,
        sends: Sends,
    ) -> None:
        self._session, self.telegram, self.database = session, telegram, database
        self.printed, self.sends = printed, sends

    @property
    def plane(self) -> Plane:
        """Where it runs."""
        return self._session.plane

    async def deploy(self) -> None:
        """Deploy, or deploy again; raises DeployFailed, ModalRefused."""
        await self._session.deploy()

    async def ready(self) -> None:
        """Wait until there is a container of each kind that takes work; raises TimeoutError."""
        await asyncio.gather(*(self.containers(name) for name in (*LIMITS, GATEWAY)))

    async def containers(self, function: str) -> list[ContainerInfo]:
        """Those that are ready, once there is one; raises TimeoutError."""
        async with asyncio.timeout(READY_S):
            while not (ready := [each for each in self.plane.containers(function) if each.state == "ready"]):  # noqa: ASYNC110 - see POLL_S
                await asyncio.sleep(POLL_S)
        return ready


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Everything, deployed and ready, in a folder of the moment; all of it ends with the block, whatever ends that.

    Raises DeployFailed, ModalRefused, PoolsRefused, TimeoutError, OSError.
    """
    with TemporaryDirectory(prefix="firstlight-chaos-") as name:
        folder = Path(name)
        many_skills(folder / VOLUME)
        sends = Sends()
        printed = Printed(sends.claimed)
        async with _session(folder, printed.hear) as (session, telegram):
            database = choose(session.laptop.settings)
            printed.search_for(_private(session.laptop.settings, telegram))
            stage = Stage(session, telegram, database, printed, sends)
            await stage.deploy()
            await stage.ready()
            await database.open()
            try:
                yield stage
            finally:
                await database.close()


def many_skills(folder: Path, count: int = LONG_LIST) -> Path:
    """A folder of skills whose list is long, so that `/skills` is answered in several messages."""
    for number in range(count):
        name = f"skill-{number:02}-{'x' * 50}"
        (folder / name).mkdir(parents=True)
        text = f"---\nname: {name}\ndescription: {'🙂' * 90}\n---\n\nNothing.\n"
        (folder / name / "SKILL.md").write_text(text, "utf-8")
    return folder


# ---------------------------------------------------------------- helpers


@asynccontextmanager
async def _session(folder: Path, listener: Listener) -> AsyncIterator[tuple[Session, AttentiveTelegram]]:
    telegram = AttentiveTelegram()
    make: Callable[[], TelegramSimulator] = lambda: telegram  # noqa: E731
    session = Session(
        SETTINGS,
        find_app_file(),
        port=0,
        folder=folder,
        listener=listener,
        scaling=folder / FILE.name,
        telegram=make,
    )
    try:
        await session.start()
        yield session, telegram
    finally:
        await session.stop()


def _private(settings: Settings, telegram: AttentiveTelegram) -> dict[str, str]:
    """What no log may hold, by what it is called."""
    return {
        "the token": telegram.token,
        "the token's key": telegram.token.partition(":")[2],
        "the webhook's secret": settings.require_webhook_secret().reveal(),
        "the admin token": settings.require_admin_token().reveal(),
        "a message": ASK.partition(": ")[2],
    }


class _Numbered(msgspec.Struct):
    update_id: int


_numbered = msgspec.json.Decoder(_Numbered).decode
