"""What an operator asks of the actors wherever they are: the same answers from a service, a plane and Modal."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import aiohttp
import msgspec

from app.fleet import UnknownActor, stats_of, warm_all
from app.lazily import load
from app.settings import Settings
from app.targets.place import Place
from app.targets.refusals import ModalRefused

WARM_S: Final = 90.0  # a cold container starts and warms in less
STATS_S: Final = 10.0
ROUTE_S: Final = WARM_S + 10.0  # the service's own deadline comes first, with a reason
UNREACHED: Final = "unreachable: "  # how the reason begins of an actor that did not answer

Document = dict[str, Any]


class NotAnswered(Exception):
    """The question found no answer: one line."""


class WarmWish(msgspec.Struct, frozen=True, kw_only=True):
    """Which actors are to be warmed."""

    actor: str = "all"
    shard: int | None = None
    force: bool = False


class Asking(Protocol):
    """The two questions; both raise NotAnswered."""

    async def warm(self, wish: WarmWish) -> Document:
        """`{"reports": [WarmReport...]}`."""

    async def stats(self) -> Document:
        """`{"actors": {LABEL: {...}}}`, `{"unreachable": why}` of one that did not answer."""


def asking(place: Place, settings: Settings) -> Asking:
    """How the actors of that place are asked; raises SettingsError without the token of a service's routes."""
    if place.kind == "local":
        return AskingRoutes(place.url, settings.require_admin_token().reveal())
    return AskingModal(place)


def unreached(document: Document) -> list[str]:
    """One line for each actor of an answer that could not be asked."""
    reports = (
        f"{report['actor']}: {error}"
        for report in document.get("reports", ())
        for error in report["errors"]
        if error.startswith(UNREACHED)
    )
    actors: Mapping[str, Document] = document.get("actors", {})
    silent = (f"{label}: {each['unreachable']}" for label, each in actors.items() if "unreachable" in each)
    return [*reports, *silent]


class AskingRoutes:
    """Asks a running service by its /admin routes."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._headers = url, {"Authorization": f"Bearer {token}"}

    async def warm(self, wish: WarmWish) -> Document:
        """`POST /admin/warm`."""
        body = {"actor": wish.actor, "force": wish.force}
        return await self._ask(
            "POST", "/admin/warm", body | ({} if wish.shard is None else {"shard": wish.shard})
        )

    async def stats(self) -> Document:
        """`GET /admin/stats`."""
        return await self._ask("GET", "/admin/stats", None)

    async def _ask(self, method: str, path: str, body: Document | None) -> Document:
        url, timeout = f"{self._url}{path}", aiohttp.ClientTimeout(total=ROUTE_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, headers=self._headers, json=body) as answer,
            ):
                text = await answer.text()
        except TimeoutError:
            raise NotAnswered(f"{url} did not answer within {ROUTE_S:g} s") from None
        except aiohttp.ClientError as error:
            raise NotAnswered(_absent(url, error)) from None
        if answer.status != 200:
            raise NotAnswered(f"{url} answered {answer.status}: {text[:200].strip() or 'nothing'}")
        return _document(url, text)


class AskingModal:
    """Asks the actors of a deployed app themselves; nothing of a web side is needed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._fleet = load("app.targets.modal_side:deployed_fleet")  # Modal's client: 0.3 s that others save

    async def warm(self, wish: WarmWish) -> Document:
        """Call `warm` of each actor and shard, in parallel."""
        try:
            async with self._fleet(self._place) as fleet:
                members = fleet.select(wish.actor, wish.shard)
                return _plain({"reports": await warm_all(members, WARM_S, force=wish.force)})
        except (ModalRefused, UnknownActor) as error:
            raise NotAnswered(str(error)) from None

    async def stats(self) -> Document:
        """Call `stats` of each actor and shard, in parallel; of a pool, one container answers."""
        try:
            async with self._fleet(self._place) as fleet:
                known = await stats_of(fleet.members, STATS_S)
        except ModalRefused as error:
            raise NotAnswered(str(error)) from None
        shown = {
            name: {"unreachable": each} if isinstance(each, str) else each for name, each in known.items()
        }
        return _plain({"actors": shown})


# ---------------------------------------------------------------- helpers


def _absent(url: str, error: aiohttp.ClientError) -> str:
    reason = error.strerror if isinstance(error, aiohttp.ClientConnectorError) else str(error)
    return f"{url} can't be asked: {reason or type(error).__name__}; is `firstlight serve` running there?"


def _document(url: str, text: str) -> Document:
    try:
        return msgspec.json.decode(text, type=Document)
    except (msgspec.DecodeError, RecursionError):
        raise NotAnswered(f"{url} did not answer in JSON: is `firstlight serve` running there?") from None


def _plain(answer: Document) -> Document:
    """As JSON would carry it."""
    document: Document = msgspec.to_builtins(answer)
    return document
