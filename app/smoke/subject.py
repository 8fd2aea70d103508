"""What a smoke test is run on: a plane of its own, or the app on Modal."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from app.doctor import Findings, examine
from app.settings import Settings, SqliteAddress
from app.skills.loader import bundled_skills
from app.smoke.looking import VOLUME, skill_folders, skills_in_volume
from app.store.database import choose
from app.targets.modal_side import connected, gateway_url
from app.targets.place import Place, modal_place
from app.up.deploying import deploy, find_app_file
from app.up.session import Session
from app.web.webhook import PATH

NOT_SEEN: Final = -1
BUNDLED: Final = bundled_skills()
VOLUMES: Final = "plane/volumes"
SKILLS: Final[Mapping[str, str]] = {
    "smoke-check/SKILL.md": "---\nname: smoke-check\ndescription: In the volume.\n---\nNothing.\n",
    "deeper/other/info.md": "---\nname: other\ndescription: In the volume, too.\n---\nNothing.\n",
}
"""What a plane's volume of skills holds: other ones than those that come along."""


class Subject(Protocol):
    """One deployment under test."""

    target: str
    place: Place
    chat: int
    secret: str
    web_function_refuses: int
    """The status that an update with a wrong secret gets at the address of old."""

    async def deploy(self) -> str:
        """Deploy, and give the webhook's address; raises DeployFailed, ModalRefused."""

    async def skills(self) -> int:
        """Folders with a skill that the registry is to serve; raises ModalRefused."""

    def replies(self) -> int:
        """Answers that the chat has seen; NOT_SEEN where only its owner can tell."""

    async def findings(self) -> Findings | None:
        """What the doctor finds in the store; None where the store can't be read from here. Raises StoreError."""


class PlaneSubject:
    """A plane of the test's own with a simulated Telegram."""

    target = "plane"
    web_function_refuses = 501  # a plane does not serve web functions

    def __init__(self, session: Session) -> None:
        self._session, self.place = session, session.place()
        assert session.simulator is not None, "no bot's token was given"
        self._simulator = session.simulator
        self.chat = self._simulator.open_chat().chat_id
        self.secret = session.laptop.settings.require_webhook_secret().reveal()

    async def deploy(self) -> str:
        """Deploy what lies in this folder."""
        return (await self._session.deploy()).webhook

    async def skills(self) -> int:
        """What was put into its volume."""
        return len(SKILLS)

    def replies(self) -> int:
        """As the simulated Telegram counts."""
        return len(self._simulator.replies(self.chat))

    async def findings(self) -> Findings | None:
        """Of the plane's own store."""
        return await examine(choose(self._session.laptop.settings))


class ModalSubject:
    """The app of the account that Modal's client has; `chat` is the operator's own with the bot."""

    target = "modal"
    web_function_refuses = 401

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

    async def skills(self) -> int:
        """What the volume holds; of an empty one those that come along."""
        return await skills_in_volume(self.place) or skill_folders(
            str(path.relative_to(BUNDLED)) for path in BUNDLED.rglob("*")
        )

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
        _fill(Path(folder) / VOLUMES / VOLUME)
        session = Session(given, find_app_file(), 0, Path(folder), snapshots=True)
        try:
            await session.start()
            yield PlaneSubject(session)
        finally:
            await session.stop()


def _fill(volume: Path) -> None:
    for name, text in SKILLS.items():
        (volume / name).parent.mkdir(parents=True)
        (volume / name).write_text(text)
