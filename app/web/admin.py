"""`POST /admin/warm` and `GET /admin/stats`, for whoever holds the bearer token."""

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from app.fleet import Fleet, UnknownActor, stats_of, warm_all
from app.web.answers import GONE, Handler, as_json, error, is_secret, plainly
from contracts.codec import UNREADABLE
from contracts.warming import ActorStats

BODY_DEADLINE_S: Final = 5.0  # a hundred bytes
STATS_DEADLINE_S: Final = 5.0
WARM_DEADLINE_S: Final = 90.0  # a cold container starts and warms in less; Modal's web side gives up at 150 s


class WarmWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be warmed, as JSON or as a query."""

    actor: str = "all"
    shard: int | None = None
    force: bool = False


class Admin:
    """The handlers; each asks for the token before anything else."""

    def __init__(self, fleet: Fleet, token: bytes) -> None:
        self._fleet, self._bearer = fleet, b"Bearer " + token

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        return [
            web.post("/admin/warm", self._guarded(self.warm)),
            web.get("/admin/stats", self._guarded(self.stats)),
        ]

    async def warm(self, request: web.Request) -> web.StreamResponse:
        """`{"reports": [WarmReport...]}`; 400 with one line for a wish that nobody can fulfil."""
        try:
            wish = await _wish(request)
            members = self._fleet.select(wish.actor, wish.shard)
        except UnknownActor as unknown:
            return error(400, str(unknown))
        except UNREADABLE as unreadable:
            return error(400, str(unreadable)[:300])
        except (TimeoutError, *GONE):
            return error(408, "the body did not arrive")
        return as_json({"reports": await warm_all(members, WARM_DEADLINE_S, force=wish.force)})

    async def stats(self, _request: web.Request) -> web.StreamResponse:
        """`{"actors": {NAME: {...}}}`, asked now; of one that can't be reached `{"unreachable": why}`."""
        known = await stats_of(self._fleet.members, STATS_DEADLINE_S)
        actors = {label: _shown(stats) for label, stats in known.items()}
        return as_json({"actors": actors})

    def _guarded(self, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            if is_secret(request, "Authorization", self._bearer):
                return await handler(request)
            refusal = error(401, "unauthorized")
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal

        return plainly(answer)


async def _wish(request: web.Request) -> WarmWish:
    async with asyncio.timeout(BODY_DEADLINE_S):
        body = await request.read()
    if body.strip():
        return msgspec.json.decode(body, type=WarmWish)
    return msgspec.convert(dict(request.query), WarmWish, strict=False)


def _shown(stats: ActorStats | str) -> object:
    return {"unreachable": stats} if isinstance(stats, str) else stats
