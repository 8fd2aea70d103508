"""One siege from its deploy to its verdict: people write, faults strike, then peace until everything has an end."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

import msgspec

from actors.meter import Meter
from actors.stores import SessionStore
from app.chaos.siege.crowd import Crowd
from app.chaos.siege.evidence import Problem
from app.chaos.siege.judging import ALL, LOSE_THE_ANSWER, Verdict, Watched, collect, judge
from app.chaos.siege.schedule import Strike, schedule
from app.chaos.siege.stage import LIMITS, Stage, staged
from app.chaos.siege.strikes import Striker
from app.chaos.siege.watching import Limits
from app.chaos.simulation import Plan
from contracts.base import Value

LOOK_S: Final = 0.1  # a container lives some 0.4 s at least, a send that was cut stays marked for 15 s
SETTLE_S: Final = 180.0  # a lease lasts 15 s, the schedule looks every 10 s; a queue, and a busy machine
CALM_S: Final = 1.0  # what waited for a container that is ready by now has been worked


class Account(Value, frozen=True, kw_only=True):
    """What came of a siege: counts, real seconds, and every problem.

    `unknown` counts updates whose sending was cut by a fault, at most `in_flight`, and those to which
    Telegram's answer got lost. `stale` answers did not know the turn before, which another owner had worked
    (allowed, within its bound). `most_containers` of one pool, by function.
    """

    target: str = "plane"
    seed: int
    minutes: float
    seconds: float
    updates: int
    accepted: int
    duplicates: int
    ends: dict[str, int]
    shown: int
    unknown: dict[str, int]
    in_flight: int
    stale: int
    lost: int
    doubled: int
    out_of_order: int
    faults: dict[str, int]
    most_containers: dict[str, int]
    problems: tuple[Problem, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not self.problems


Progress = Callable[[float, str], None]
"""Hears of the seconds since the siege began, and of what goes on in a few words."""


class Siege:
    """One run of a plan upon a stage."""

    def __init__(self, plan: Plan, stage: Stage, progress: Progress, trace: TextIO | None = None) -> None:
        self._plan, self._stage, self._progress, self._trace = plan, stage, progress, trace
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._limits, self._sends = Limits(LIMITS), stage.sends
        self._crowd = Crowd(stage.telegram, random.Random(f"{plan.seed} crowd"))
        self._striker = Striker(stage, self._limits, self._sends, self._note)

    async def run(self) -> Account:
        """Besiege, wait until all has an end, and judge; raises DeployFailed, ModalRefused, StoreError."""
        store = self._stage.database.sessions(Meter())
        try:
            async with asyncio.TaskGroup() as works:
                watching = works.create_task(self._watch(store))
                await self._besiege()
                await self._settle(store)
                watching.cancel()
            return await self._account()
        finally:
            await store.close()

    async def _besiege(self) -> None:
        plan, seconds = self._plan, self._plan.minutes * 60.0
        strikes = schedule(plan.seed, seconds, only=plan.only, without=plan.without, intensity=plan.intensity)
        async with asyncio.TaskGroup() as works:
            writing = works.create_task(self._crowd.live())
            for strike in strikes:
                works.create_task(self._striker.strike(strike))
            await asyncio.sleep(seconds)
            writing.cancel()
        await self._striker.peace()

    async def _settle(self, store: SessionStore) -> None:
        """What has no end by then is lost: the verdict names it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._stage.ready()
                await asyncio.sleep(CALM_S)
                await self._stage.telegram.updates.idle()
                await until_all_ended(store)

    # ------------------------------------------------------------ meanwhile

    async def _watch(self, store: SessionStore) -> None:
        while True:
            self._limits.look(self._stage.plane.containers())
            now_s = self._loop.time()
            if self._sends.expected(now_s):
                self._sends.look(await store.find_updates(("accepted", "committed"), ALL), now_s)
            faults = self._striker.injected.total()
            self._progress(self._now_s(), f"{self._crowd.said.total()} messages, {faults} faults")
            await asyncio.sleep(LOOK_S)

    def _note(self, strike: Strike, hit: str) -> None:
        if self._trace is not None:
            line = msgspec.to_builtins(strike) | {"now_s": round(self._now_s(), 3), "hit": hit}
            self._trace.write(msgspec.json.encode(line).decode() + "\n")

    def _now_s(self) -> float:
        return self._loop.time() - self._began_s

    # ------------------------------------------------------------ the end

    async def _account(self) -> Account:
        telegram, said = self._stage.telegram, self._crowd.said
        lost_answers = sum(telegram.faults.injected[kind] for kind in LOSE_THE_ANSWER)
        watched = Watched(
            said=said, accepted=telegram.accepted, sending=self._sends.updates, lost_answers=lost_answers
        )
        verdict = judge(watched, await collect(self._stage.database, telegram, said))
        return self._told(
            verdict, [*verdict.problems, *self._limits.problems.values(), *self._stage.printed.problems()]
        )

    def _told(self, verdict: Verdict, problems: list[Problem]) -> Account:
        telegram = self._stage.telegram
        return Account(
            seed=self._plan.seed,
            minutes=self._plan.minutes,
            seconds=round(self._now_s(), 1),
            updates=self._crowd.said.total(),
            accepted=len(telegram.accepted),
            duplicates=telegram.updates.counts.duplicates,
            ends=dict(sorted(verdict.ends.items())),
            shown=verdict.shown,
            unknown={"cut by a fault": verdict.cut, "Telegram's answer lost": verdict.unanswered},
            in_flight=verdict.in_flight,
            stale=verdict.stale,
            lost=verdict.count("lost"),
            doubled=verdict.count("doubled"),
            out_of_order=verdict.count("out of order"),
            faults=dict(sorted(self._striker.injected.items())),
            most_containers=dict(sorted(self._limits.most_seen.items())),
            problems=tuple(problems),
        )


async def until_all_ended(store: SessionStore) -> None:
    """Wait until no update is open; other processes end them, so all that can be done here is to look again."""
    while True:
        if not await store.find_updates(("accepted", "committed"), 1):
            return
        await asyncio.sleep(LOOK_S)


async def besiege(plan: Plan, progress: Progress, trace: TextIO | None = None) -> Account:
    """Begin everything, besiege it, and end everything; raises DeployFailed, ModalRefused, StoreError, TimeoutError."""
    progress(0.0, "deploying")
    async with staged() as stage:
        try:
            return await Siege(plan, stage, progress, trace).run()
        except ExceptionGroup as failed:
            raise _first(failed) from failed


def _first(failed: ExceptionGroup[Exception]) -> Exception:
    """What went wrong; what else went wrong with it stands in the traceback."""
    first = failed.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
