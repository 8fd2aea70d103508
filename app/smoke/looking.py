"""What a smoke test looks at beside the webhook: the skills that are served, and the address of old."""

import asyncio
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

import aiohttp
import modal

from app.skills.walk import SKILL_NAMES
from app.smoke.talking import Webhook, message
from app.targets.modal_side import LOOK_UP_S, connected, deployed_fleet, told
from app.targets.place import Place
from app.targets.refusals import ModalRefused
from contracts.skills import Catalog, GetCatalog

WEB_FUNCTION: Final = "telegram_chat_agent"
VOLUME: Final = "firstlight-skills"
START_S: Final = 120.0  # its container starts for the first request
PAUSE_S: Final = 1.0


async def served_skills(place: Place) -> int:
    """Skill folders that the registry knows, those set aside among them; raises ModalRefused."""
    async with deployed_fleet(place) as fleet:
        answer = await fleet.skills.ask(GetCatalog())
    if not isinstance(answer, Catalog):
        raise ModalRefused(f"the registry does not give its catalog: {answer!r}")
    return len(answer.skills) + len(answer.set_aside)


async def skills_in_volume(place: Place) -> int:
    """Folders with a skill in the volume on Modal; raises ModalRefused."""
    async with connected(place) as client:
        volume = modal.Volume.from_name(VOLUME, client=client)
        entries = await told(place, volume.listdir.aio("/", recursive=True), LOOK_UP_S)
    return skill_folders(entry.path for entry in entries)


def skill_folders(paths: Iterable[str]) -> int:
    """How many folders of these files hold a skill: one each, whatever its file is called."""
    files = map(PurePosixPath, paths)
    return len({file.parent for file in files if file.name.lower() in SKILL_NAMES})


async def refused_by_old_address(place: Place, http: aiohttp.ClientSession, chat: int) -> int:
    """The status for an update with a wrong secret at the web function's address, 0 if it never answers.

    Raises ModalRefused where there is no such function.
    """
    async with connected(place) as client:
        function = modal.Function.from_name(place.app_name, WEB_FUNCTION, client=client)
        url = await told(place, function.get_web_url.aio(), LOOK_UP_S)
    webhook = Webhook(http, f"{url}/webhook/telegram", "wrong")
    try:
        async with asyncio.timeout(START_S):
            return await _answer(webhook, chat)
    except TimeoutError:
        return 0


# ---------------------------------------------------------------- helpers


async def _answer(webhook: Webhook, chat: int) -> int:
    while True:
        try:
            return await webhook.post(message(chat, "/help"))
        except (aiohttp.ClientError, TimeoutError):  # it starts
            await asyncio.sleep(PAUSE_S)
