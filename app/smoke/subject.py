"""What a smoke test is run on: a plane of its own, or the app on Modal."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from app.doctor import Findings, examine
from app.settings import Settings, SqliteAddress
from app.store.database import choose
from app.targets.modal_side import connected, gateway_url
from app.targets.place import Place, modal_place
from app.up.deploying import deploy, find_app_file
from app.up.session import Session
from app.web.webhook import PATH

NOT_SEEN: Final = -1


class Subject(Protocol):
    """One deployment under test."""

    target: str
    place: Place
    chat: int
    secret: str

    async def deploy(self) -> str:
        """Deploy, and give the webhook's address; raises DeployFailed, ModalRefused."""

    def replies(self) -> int:
        """Answers that the chat has seen; NOT_SEEN where only its owner can tell."""

    async def findings(self) -> Findings | None:
        """What the doctor finds in the store; None where the store can't be read from here. Raises StoreError."""


class PlaneSubject:
    """A plane of the test's own with a simulated Telegram."""

    target = "plane"

    def __init__(self, session: Session) -> None:
        self._session, self.place = session, session.place()
        assert session.simulator is not None, "no bot's token was given"
        self._simulator = session.simulator
        self.chat = self._simulator.open_chat().chat_id
        self.secret = session.laptop.settings.require_webhook_secret().reveal()

    async def deploy(self) -> str:
        """Deploy what lies in this folder."""
        return (await self._session.deploy()).webhook

    def replies(self) -> int:
        """As the simulated Telegram counts."""
        return len(self._simulator.replies(self.chat))

    async def findings(self) -> Findings | None:
        """Of the plane's own store."""
        return await examine(choose(self._session.laptop.settings))


class ModalSubject:
    """The app of the account that Modal's client has; `chat` is the operator's own with the bot."""

    target = "modal"

    def __init__(self, settings: Settings, chat: int, app_file: Path) -> None:
        """Raises SettingsError without the webhook's secret."""
        self._settings, self._app_file = settings, app_file
        self.chat, self.secret = chat, settings.require_webhook_secret().reveal()
        self.place = modal_place(settings)

    async def deploy(self) -> str:
        """Deploy as this shell would."""
        await deploy(self._app_file)
        async with connected(self.place) as client:
            return f"{await gateway_url(self.place, client)}{PATH}"

    def replies(self) -> int:
        """Only the chat's owner sees them."""
        return NOT_SEEN

    async def findings(self) -> Findings | None:
        """Of the store that FIRSTLIGHT_STORE names, unless it is a file of this machine, which is not the app's."""
        if isinstance(self._settings.store, SqliteAddress):
            return None
        return await examine(choose(self._settings))


@asynccontextmanager
async def plane_subject(given: Mapping[str, str]) -> AsyncIterator[PlaneSubject]:
    """Begin a plane in a folder of the moment; nothing of it is left behind."""
    with TemporaryDirectory(prefix="firstlight-smoke-") as folder:
        session = Session(given, find_app_file(), 0, Path(folder))
        try:
            await session.start()
            yield PlaneSubject(session)
        finally:
            await session.stop()
