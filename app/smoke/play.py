"""The smoke test itself: each step adds what was expected and what was seen."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import aiohttp

from actors.stores import StoreError
from app.scale.modal_pools import ModalPools
from app.scale.pools import PoolsRefused
from app.smoke.checks import Check, Outcome
from app.smoke.looking import refused_by_old_address, served_skills
from app.smoke.subject import NOT_SEEN, Subject
from app.smoke.talking import Webhook, message
from app.targets.asking import AskingModal, NotAnswered, WarmWish
from app.targets.modal_side import connected
from app.targets.refusals import ModalRefused
from app.up.deploying import DeployFailed

T = TypeVar("T")

ANSWER_S: Final = 60.0  # a turn takes seconds, of a language model some more; its container may start cold
NEW_S: Final = 120.0  # until a deploy has replaced every old container
LOOK_S: Final = 0.2
OK: Final = 200
TEXT: Final = "/help"  # answered without a model
OVERRIDE: Final = 301  # seconds of a scaledown window: no default, and costs nothing
POOL: Final = "ChatAgent"
AS_IN_VOLUME: Final = "as in the volume"
STOPS: Final = (
    DeployFailed,
    ModalRefused,
    NotAnswered,
    PoolsRefused,
    StoreError,
    TimeoutError,
    aiohttp.ClientError,
)
"""What ends a smoke test early: nothing after it would say more."""

Starts = Mapping[str, float]
Statistics = Mapping[str, Mapping[str, Any]]


class Smoke:
    """One run over one deployment."""

    def __init__(self, subject: Subject, http: aiohttp.ClientSession, tell: Callable[[str], None]) -> None:
        self._subject, self._http, self._tell = subject, http, tell
        self._checks: list[Check] = []
        self._seconds: dict[str, float] = {}
        self._step = ""

    async def run(self) -> Outcome:
        """Deploy, warm, talk, scale; deploy again, talk, and look into the store."""
        stopped = ""
        try:
            await self._first_deploy()
            await self._second_deploy()
            await self._store()
        except STOPS as error:
            stopped = f"{self._step}: {str(error) or 'it took too long'}"
        return Outcome(
            target=self._subject.target, checks=tuple(self._checks), seconds=self._seconds, stopped=stopped
        )

    async def _first_deploy(self) -> None:
        webhook = await self._deployed("deploy", replacing=await self._known())
        await self._warmed("first")
        self._check("the gateway is ready", OK, await self._timed("gateway", self._served(webhook)))
        refused = await webhook.post(message(self._subject.chat, TEXT), secret="wrong")  # noqa: S106 - of nothing
        self._check("an update with a wrong secret", 401, refused)
        await self._talk("first", webhook)
        await self._beside()
        await self._override()

    async def _beside(self) -> None:
        """The skills of the volume, and the address of old."""
        self._begin("skills")
        place = self._subject.place
        wanted, served = await self._subject.skills(), await served_skills(place)
        self._check(
            "skills served", AS_IN_VOLUME, AS_IN_VOLUME if served == wanted else f"{served} of {wanted}"
        )
        self._begin("the address of old")
        status = refused_by_old_address(place, self._http, self._subject.chat)
        expected = self._subject.web_function_refuses
        self._check(
            "the address of old, a wrong secret", expected, await self._timed("address of old", status)
        )

    async def _second_deploy(self) -> None:
        webhook = await self._deployed("deploy again", replacing=await self._known())
        await self._warmed("second")
        self._check("an override after a deploy", "reset", await self._override_now())
        await self._talk("second", webhook)
        reads = sum(each["store_reads"]["calls"] for each in (await self._stats()).values())
        self._check("store reads of the first request after a deploy", 0, reads)

    async def _store(self) -> None:
        findings = await self._subject.findings()
        if findings is not None:
            self._check("updates lost or stuck", 0, len(findings.lost) + len(findings.stuck))
            self._check("doctor", "ok", "ok" if findings.ok else "not ok")

    # ------------------------------------------------------------ steps

    async def _deployed(self, name: str, replacing: Starts) -> Webhook:
        """Deploy, and wait until other containers answer than those that did before."""
        self._begin(name)
        url = await self._timed(name, self._subject.deploy())
        self._begin(f"new containers after {name}")

        async def replaced() -> bool | None:
            starts = await self._known()
            fresh = all(start != replacing.get(label) for label, start in starts.items())
            return (bool(starts) and fresh) or None

        await _until(replaced, NEW_S)
        return Webhook(self._http, url, self._subject.secret)

    async def _warmed(self, which: str) -> None:
        self._begin(f"{which} warm")
        answer = await self._timed(f"{which} warm", AskingModal(self._subject.place).warm(WarmWish()))
        for report in answer["reports"]:
            shard = "" if report["shard"] is None else f"[{report['shard']}]"
            self._check(f"{which} warm of {report['actor']}{shard}", "warm", report["status"])

    async def _talk(self, which: str, webhook: Webhook) -> None:
        """Twice the same update, and one answer."""
        self._begin(f"{which} message")
        before, seen = _answered(await self._stats()), self._subject.replies()
        update = message(self._subject.chat, TEXT)
        self._check(f"{which} update", OK, await self._timed(f"{which} webhook", webhook.post(update)))
        self._check(f"{which} update again", OK, await webhook.post(update))
        after = await self._timed(f"{which} answer", self._until_answered(before))
        self._check(f"{which} update, answers counted", 1, after - before)
        if seen != NOT_SEEN:
            self._check(f"{which} update, answers seen", 1, self._subject.replies() - seen)

    async def _until_answered(self, before: int) -> int:
        async def answered() -> int | None:
            now = _answered(await self._stats())
            return now if now > before else None

        return await _until(answered, ANSWER_S)

    async def _served(self, webhook: Webhook) -> int:
        """The last status of `/readyz`: a gateway whose first container starts answers 503, here and on Modal."""
        status = 0

        async def ready() -> int | None:
            nonlocal status
            status = await webhook.get("/readyz")
            return status if status == OK else None

        with suppress(TimeoutError):
            await _until(ready, NEW_S)
        return status

    async def _override(self) -> None:
        async with connected(self._subject.place) as client:
            await ModalPools(self._subject.place, client).change(POOL, {"scaledown_window": OVERRIDE})
        self._check("an override is told back", "in force", await self._override_now())

    async def _override_now(self) -> str:
        async with connected(self._subject.place) as client:
            pools = await ModalPools(self._subject.place, client).look()
        settings = next(pool.settings for pool in pools if pool.name == POOL)
        if settings is None:
            return "not told"
        return "in force" if settings["scaledown_window"] == OVERRIDE else "reset"

    # ------------------------------------------------------------ helpers

    def _begin(self, step: str) -> None:
        self._step = step
        self._tell(step)

    async def _known(self) -> Starts:
        """When each actor that answers has started, by its own clock; nothing, where nothing is deployed."""
        try:
            return {label: each["started_at"] for label, each in (await self._stats()).items()}
        except (ModalRefused, NotAnswered):
            return {}

    async def _stats(self) -> Statistics:
        actors: Statistics = (await AskingModal(self._subject.place).stats())["actors"]
        silent = [
            f"{label}: {each['unreachable']}" for label, each in actors.items() if "unreachable" in each
        ]
        if silent:
            raise NotAnswered("; ".join(silent))
        return actors

    def _check(self, name: str, expected: object, seen: object) -> None:
        self._checks.append(Check(name=name, expected=str(expected), seen=str(seen)))

    async def _timed(self, name: str, work: Awaitable[T]) -> T:
        began = time.monotonic()
        result = await work
        self._seconds[name] = round(time.monotonic() - began, 2)
        return result


async def _until(look: Callable[[], Awaitable[T | None]], deadline_s: float) -> T:
    """Look until there is something; raises TimeoutError."""
    async with asyncio.timeout(deadline_s):
        while True:
            if (found := await look()) is not None:
                return found
            await asyncio.sleep(LOOK_S)


def _answered(stats: Statistics) -> int:
    return sum(each["counters"].get("turns_answered", 0) for each in stats.values())
