"""Finds where a command is to work: by what it was told, else by looking around."""

from pathlib import Path
from typing import Final, Literal

import aiohttp

from app.settings import Settings
from app.targets.note import FOLDER, PlaneNote, UnreadableNote, is_alive, read_note
from contracts.base import Value

Kind = Literal["local", "plane", "modal"]
KINDS: Final[tuple[Kind, ...]] = ("local", "plane", "modal")
LOOK_S: Final = 2.0  # a service on this machine says that it lives within ms; a busy one gets some more


class NoPlace(Exception):
    """There is nothing to work on: one line that says what was looked for."""


class Place(Value, frozen=True, kw_only=True):
    """Where a command works. `url` is a service's web address, or another server for Modal's client."""

    kind: Kind
    app_name: str
    shards: int
    url: str = ""
    plane: PlaneNote | None = None

    def __str__(self) -> str:
        """As a sentence names it."""
        match self.kind:
            case "local":
                return f"the service at {self.url}"
            case "plane":
                assert self.plane is not None, "a plane has its note"
                return f"the plane at {self.plane.url}"
            case "modal":
                return f"the Modal server at {self.url}" if self.url else "Modal"


class Wish(Value, frozen=True, kw_only=True):
    """What the command was told: a kind, or a service's address, or neither."""

    target: Kind | None = None
    url: str | None = None


async def find_place(settings: Settings, wish: Wish, folder: Path = FOLDER) -> Place:
    """What was wished for; else the first of: this folder's plane, a service here, an account. Raises NoPlace."""
    if wish.url or wish.target == "local":
        return _local(settings, wish.url)
    if wish.target == "modal":
        return modal_place(settings)
    if wish.target == "plane":
        return _of_plane(await _plane(folder, wanted=True))
    return await _look_around(settings, folder)


async def answers(url: str) -> bool:
    """Whether a service lives there."""
    timeout = aiohttp.ClientTimeout(total=LOOK_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{url}/livez") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


# ---------------------------------------------------------------- helpers


async def _look_around(settings: Settings, folder: Path) -> Place:
    if plane := await _plane(folder, wanted=False):
        return _of_plane(plane)
    local = _local(settings, None)
    if await answers(local.url):
        return local
    if settings.modal_account:
        return modal_place(settings)
    raise NoPlace(
        f"found nothing to ask: no plane of this folder ({_noted(folder)}); no service at {local.url}, "
        "is `firstlight serve` running there?; no Modal account. Begin one, or say --target or --url"
    )


async def _plane(folder: Path, *, wanted: bool) -> PlaneNote | None:
    try:
        note = read_note(folder)
    except UnreadableNote as error:
        raise NoPlace(str(error)) from None
    if note is not None and await is_alive(note):
        return note
    if wanted:
        raise NoPlace(f"no plane runs for this folder ({_noted(folder)}): begin one with `firstlight up`")
    return None


def _noted(folder: Path) -> str:
    try:
        note = read_note(folder)
    except UnreadableNote as error:
        return str(error)
    return f"process {note.pid} of {folder}/plane.json is gone" if note else f"{folder}/plane.json is missing"


def _of_plane(note: PlaneNote | None) -> Place:
    assert note is not None, "found, or NoPlace was raised"
    return Place(kind="plane", app_name=note.app_name, shards=note.shards, plane=note)


def _local(settings: Settings, url: str | None) -> Place:
    address = (url or service_url(settings)).rstrip("/")
    return Place(kind="local", app_name=settings.app_name, shards=settings.shards, url=address)


def modal_place(settings: Settings) -> Place:
    """The account of Modal's client."""
    server = settings.modal_server
    return Place(kind="modal", app_name=settings.app_name, shards=settings.shards, url=server)


def service_url(settings: Settings) -> str:
    """Where the running service is asked, from this machine."""
    host = settings.host
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
