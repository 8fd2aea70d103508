"""`/health`, `/livez`, `/readyz` and `/metrics`, from what the actors tell of themselves."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from aiohttp import web

from actors.ports import Clock
from app.fleet import Fleet, is_unreached, stats_of, warm_all
from app.metrics import CONTENT_TYPE, Metrics
from app.web.answers import as_json, plainly
from contracts.warming import ActorStats, WarmReport

log = structlog.get_logger(__name__)

STATS_DEADLINE_S: Final = 2.0  # a probe usually gives up after a few seconds
STATS_AGE_S: Final = 1.0  # these routes are open to all: asking them often must not load the actors

Statistics = Mapping[str, ActorStats | str]


class FirstWarm:
    """The warming that the service asks for when it starts; `ended` is also set when it met its deadline."""

    def __init__(self, fleet: Fleet, deadline_s: float) -> None:
        self._fleet, self._deadline_s = fleet, deadline_s
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Ask every actor and shard to warm, in parallel, once; never raises."""
        if self.ended.is_set():
            return
        try:
            _alarm(await warm_all(self._fleet.members, self._deadline_s))
        except Exception:  # I6: a defect in warming must not keep the service from serving
            log.exception("first_warm_defect")
        finally:
            self.ended.set()


class StatsView:
    """The actors' statistics, at most a moment old; all who ask meanwhile share one round of questions."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet, self._clock = fleet, clock
        self._asking: asyncio.Task[Statistics] | None = None
        self._known: Statistics = {}
        self._until = float("-inf")

    async def get(self) -> Statistics:
        """By label, the statistics or one line why there are none."""
        if self._clock.monotonic_s() < self._until:
            return self._known
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Statistics:
        try:
            self._known = await stats_of(self._fleet.members, STATS_DEADLINE_S)
            self._until = self._clock.monotonic_s() + STATS_AGE_S
            return self._known
        finally:
            self._asking = None


class Health:
    """The handlers."""

    def __init__(self, view: StatsView, first_warm: FirstWarm, metrics: Metrics) -> None:
        self._view, self._first_warm, self._metrics = view, first_warm, metrics

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        return [
            web.get("/health", plainly(self.health)),
            web.get("/livez", plainly(self.live)),
            web.get("/readyz", plainly(self.ready)),
            web.get("/metrics", plainly(self.page)),
        ]

    async def health(self, _request: web.Request) -> web.StreamResponse:
        """`{"status": "warm"|"warming"|"degraded", "actors": {NAME: {...}}}`, always 200."""
        return as_json(health_of(await self._view.get()))

    async def live(self, _request: web.Request) -> web.StreamResponse:
        """200: the loop runs."""
        return web.Response(text="live\n")

    async def ready(self, _request: web.Request) -> web.StreamResponse:
        """200 once the first warm ended or met its deadline, unless the store refuses us; else 503 and why."""
        if not self._first_warm.ended.is_set():
            return web.Response(status=503, text="warming\n", headers={"Retry-After": "1"})
        known = await self._view.get()
        denied = [s.degraded for s in known.values() if isinstance(s, ActorStats) and s.denied]
        if denied:
            return web.Response(status=503, text=f"{denied[0]}\n")
        return web.Response(text="ready\n")

    async def page(self, _request: web.Request) -> web.StreamResponse:
        """What Prometheus reads."""
        known = await self._view.get()
        page = self._metrics.page([stats for stats in known.values() if isinstance(stats, ActorStats)])
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})


def _alarm(reports: Sequence[WarmReport]) -> None:
    """An actor that can't be reached at all is an operator's matter: its containers may crash as they start (D7)."""
    away = [_label(report) for report in reports if any(map(is_unreached, report.errors))]
    if away:
        log.error("actors_unreachable", actors=away)


def _label(report: WarmReport) -> str:
    return report.actor if report.shard is None else f"{report.actor}[{report.shard}]"


def health_of(known: Statistics) -> Mapping[str, object]:
    """What `/health` says of these statistics."""
    return {
        "status": overall(known),
        "actors": {label: _summary(stats) for label, stats in known.items()},
    }


def overall(known: Statistics) -> str:
    """`warming` until each reachable actor's first warm has ended, then `degraded` if any is, else `warm`."""
    stats = [answer for answer in known.values() if isinstance(answer, ActorStats)]
    if any(one.warm is None for one in stats):
        return "warming"
    if len(stats) < len(known) or any(one.degraded for one in stats):
        return "degraded"
    return "warm"


def _summary(stats: ActorStats | str) -> Mapping[str, object]:
    if isinstance(stats, str):
        return {"status": "unreachable", "reason": stats}
    status = stats.warm.status if stats.warm else "warming"
    return {"status": status, "reason": stats.degraded, "entries": stats.entries, "bytes": stats.bytes}
