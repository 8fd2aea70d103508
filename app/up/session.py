"""Runs the plane with the app on it: starts, deploys, deploys again, and ends everything that it began."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from app.fleet import GATEWAY, stats_of
from app.plane import Options, Plane
from app.plane.logs import Listener
from app.scale.applying import apply
from app.scale.desired import FILE, Desired, read_desired
from app.scale.modal_pools import ModalPools
from app.scale.pools import Change
from app.targets.modal_side import connected, deployed_fleet, gateway_url
from app.targets.note import FOLDER, PlaneNote, private_folder, remove_note, write_note
from app.targets.place import Place
from app.telegram.client import TelegramClient
from app.telegram.simulator import TelegramSimulator
from app.transport.remote import RemoteFleet
from app.up.chat_page import ChatPage
from app.up.deploying import Deployed, deploy
from app.up.laptop import Laptop, Simulated, laptop
from app.web.health import Statistics
from app.web.webhook import PATH
from contracts.base import Value

LOOPBACK: Final = "127.0.0.1"
STATS_S: Final = 2.0  # for the page, which asks again anyway


class Up(Value, frozen=True, kw_only=True):
    """What is up after a deploy; `chat_page` is empty when a real bot's token is given.

    `environment` leads Modal's client to the plane; `deploying` are the settings that each deploy carries.
    """

    deployed: Deployed
    place: Place
    webhook: str
    environment: Mapping[str, str]
    deploying: Mapping[str, str] = {}
    scaled: tuple[Change, ...] = ()
    chat_page: str = ""


class Session:
    """One plane in this process, the app deployed to it, and a simulated Telegram where no bot is given."""

    def __init__(
        self,
        given: Mapping[str, str],
        app_file: Path,
        port: int | None = None,
        folder: Path = FOLDER,
        listener: Listener | None = None,
        scaling: Path = FILE,
        telegram: Callable[[], TelegramSimulator] = TelegramSimulator,
        snapshots: bool = False,
    ) -> None:
        """`given` are the settings that the user has made; what is missing gets a laptop's defaults.

        `port` is the webhook's, FIRSTLIGHT_PORT if it is None; `listener` sees what containers print;
        `scaling` is applied after each deploy if there is such a file; `telegram` makes the simulated one;
        with `snapshots` containers go through the protocol of Modal's memory snapshots.
        """
        self._given, self._app_file, self._folder = given, app_file, folder
        self._scaling, self._telegram, self._snapshots = scaling, telegram, snapshots
        self._wished_port = port
        self._listener = listener
        self._exit = AsyncExitStack()
        self._deploying = asyncio.Lock()
        self._fleet: RemoteFleet | None = None
        self._of_deploy = AsyncExitStack()
        self.simulator: TelegramSimulator | None = None
        self.plane: Plane
        self._chat_page = ""
        self.laptop: Laptop

    async def start(self) -> None:
        """Begin the simulator and the plane; nothing is deployed. Raises SettingsError, OSError."""
        private_folder(self._folder)
        if not self._given.get("TELEGRAM_BOT_TOKEN", "").strip():
            self.simulator = await self._exit.enter_async_context(self._telegram())
        self.laptop = laptop(self._given, self._folder, _simulated(self.simulator))
        socket.create_server((LOOPBACK, self.port)).close()  # a port that is taken is told before a deploy
        options = Options(
            web_ports={GATEWAY: self.port}, secrets=self.laptop.secrets, snapshots=self._snapshots
        )
        self.plane = Plane(self._folder / "plane", options, self._listener)
        await self.plane.start()
        self._exit.push_async_callback(self.plane.stop)
        if self.simulator is not None:
            page = ChatPage(self.simulator, self._stats)
            self._chat_page = await page.start()
            self._exit.push_async_callback(page.stop)

    async def deploy(self) -> Up:
        """Deploy what lies in the folder now, apply the scaling file if there is one, and tell others of it.

        Raises DeployFailed, ModalRefused, PoolsRefused, BadFile.
        """
        async with self._deploying:
            desired = self._desired()
            environment = self.plane.environment()
            deployed = await deploy(self._app_file, self.laptop.deploying | environment)
            place = self.place()
            self._fleet = None
            await self._of_deploy.aclose()
            self._fleet = await self._of_deploy.enter_async_context(deployed_fleet(place))
            async with connected(place) as client:
                webhook = f"{await gateway_url(place, client)}{PATH}"
                scaled = await apply(ModalPools(place, client), desired, place, self._folder)
            await self._point(webhook)
            write_note(self._note(), self._folder)
            return Up(
                deployed=deployed,
                place=place,
                webhook=webhook,
                environment=environment,
                deploying=self.laptop.deploying,
                scaled=scaled,
                chat_page=self._chat_page,
            )

    async def scale(self) -> tuple[Change, ...]:
        """Apply the scaling file without a deploy; raises ModalRefused, PoolsRefused, BadFile."""
        async with self._deploying:
            desired, place = self._desired(), self.place()
            async with connected(place) as client:
                return await apply(ModalPools(place, client), desired, place, self._folder)

    @property
    def port(self) -> int:
        """Of the webhook; 0 is any free one."""
        return self.laptop.settings.port if self._wished_port is None else self._wished_port

    def place(self) -> Place:
        """Where commands find it."""
        note = self._note()
        return Place(kind="plane", app_name=note.app_name, shards=note.shards, plane=note)

    def containers(self) -> dict[str, tuple[str, str]]:
        """Pool and state of every container that there is now."""
        return {each.id: (each.function, each.state) for each in self.plane.containers()}

    async def stop(self) -> None:
        """End everything and take the note away; idempotent."""
        remove_note(os.getpid(), self._folder)
        await self._of_deploy.aclose()
        await self._exit.aclose()

    async def _point(self, webhook: str) -> None:
        if self.simulator is not None:
            secret = self.laptop.settings.require_webhook_secret().reveal()
            telegram = TelegramClient(self.simulator.token, self.simulator.url)
            try:
                await telegram.set_webhook(webhook, secret, drop_pending=False)
            finally:
                await telegram.close()

    def _desired(self) -> Desired:
        return read_desired(self._scaling) if self._scaling.exists() else {}

    def _note(self) -> PlaneNote:
        settings = self.laptop.settings
        return PlaneNote(
            pid=os.getpid(),
            environment=self.plane.environment(),
            app_name=settings.app_name,
            shards=settings.shards,
            store=self.laptop.variables["FIRSTLIGHT_STORE"],
        )

    async def _stats(self) -> Statistics:
        """For the chat page."""
        return await stats_of(self._fleet.members if self._fleet else (), STATS_S)


# ---------------------------------------------------------------- helpers


def _simulated(simulator: TelegramSimulator | None) -> Simulated | None:
    return Simulated(simulator.token, simulator.url) if simulator else None
