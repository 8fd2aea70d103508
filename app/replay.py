"""Posts recorded updates to a running webhook again: in order for each chat, many chats at once, as patient as told."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from actors.ports import Clock
from app.recording import Malformed, Recorded
from app.runtime import SystemClock
from app.web.webhook import SECRET_HEADER
from contracts.base import Value

WAITING_MOST: Final = 100  # updates read ahead for each connection
ANSWER_S: Final = 60.0  # Telegram's own patience with a webhook
TRIES: Final = 10  # of one update; Telegram goes on for a day, an operator does not
RETRY_AFTER_S: Final = 1.0  # when the service names no time, or is not there
RETRY_AFTER_MOST_S: Final = 60.0  # a longer wish is an outage: asking once a minute finds its end
NAMED_MOST: Final = 1_000  # malformed places kept by name; all are counted


class Replayed(Value, frozen=True, kw_only=True):
    """What became of a recording. `ok`: every update of it got 200.

    `refused` counts by status those that were given up, `unreachable` those that met no service, `unsent`
    those that were not tried any more after that; `retried` counts attempts, not updates.
    """

    ok: bool
    accepted: int = 0
    refused: Mapping[str, int] = {}
    retried: int = 0
    malformed: int = 0
    malformed_at: tuple[Malformed, ...] = ()
    unreachable: int = 0
    unsent: int = 0
    seconds: float = 0.0


@dataclass
class _Tally:
    accepted: int = 0
    retried: int = 0
    malformed: int = 0
    unreachable: int = 0
    unsent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    named: list[Malformed] = field(default_factory=list)


class Replay:
    """One run; `on_step` hears of each update that is through, `on_malformed` of each place that holds none."""

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        connections: int = 32,
        clock: Clock | None = None,
        on_step: Callable[[Recorded], None] = lambda _: None,
        on_malformed: Callable[[Malformed], None] = lambda _: None,
    ) -> None:
        self._url, self._connections = url, connections
        self._headers = {SECRET_HEADER: secret, "Content-Type": "application/json"}
        self._on_step, self._on_malformed = on_step, on_malformed
        self._clock = clock or SystemClock()
        self._tally = _Tally()

    async def run(self, recording: Iterable[Recorded | Malformed]) -> Replayed:
        """Post all of it; a chat's updates stay on one connection, one after another."""
        begun = self._clock.monotonic_s()
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        connector = aiohttp.TCPConnector(limit=self._connections)
        queues = [asyncio.Queue[Recorded | None](WAITING_MOST) for _ in range(self._connections)]
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            workers = [asyncio.create_task(self._work(queue, http)) for queue in queues]
            try:
                await self._hand_out(recording, queues)
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
        return self._result(self._clock.monotonic_s() - begun)

    async def _hand_out(
        self, recording: Iterable[Recorded | Malformed], queues: Sequence[asyncio.Queue[Recorded | None]]
    ) -> None:
        for each in recording:
            if isinstance(each, Malformed):
                self._name(each)
            else:
                await queues[each.lane % len(queues)].put(each)
        for queue in queues:
            await queue.put(None)

    def _name(self, malformed: Malformed) -> None:
        self._tally.malformed += 1
        if len(self._tally.named) < NAMED_MOST:
            self._tally.named.append(malformed)
        self._on_malformed(malformed)

    async def _work(self, queue: asyncio.Queue[Recorded | None], http: aiohttp.ClientSession) -> None:
        while (update := await queue.get()) is not None:
            if self._tally.unreachable:  # nobody is there: the rest would only wait for the same
                self._tally.unsent += 1
            else:
                await self._post(update, http)
            self._on_step(update)

    async def _post(self, update: Recorded, http: aiohttp.ClientSession) -> None:
        for last in (*[False] * (TRIES - 1), True):
            status, wait_s = await self._attempt(update, http)
            if status == 200:
                self._tally.accepted += 1
                return
            if last or status not in (0, 429, 503):
                break
            self._tally.retried += 1
            await self._clock.sleep(wait_s)
        if status:
            self._tally.refused[str(status)] += 1
        else:
            self._tally.unreachable += 1

    async def _attempt(self, update: Recorded, http: aiohttp.ClientSession) -> tuple[int, float]:
        """The answer's status, 0 without an answer, and how long to wait before the next attempt."""
        try:
            async with http.post(
                self._url, data=update.body, headers=self._headers, allow_redirects=False
            ) as answer:
                return answer.status, _retry_after_s(answer)
        except (aiohttp.ClientError, TimeoutError):
            return 0, RETRY_AFTER_S

    def _result(self, seconds: float) -> Replayed:
        tally = self._tally
        failed = tally.malformed + tally.refused.total() + tally.unreachable + tally.unsent
        return Replayed(
            ok=not failed,
            accepted=tally.accepted,
            refused=dict(sorted(tally.refused.items())),
            retried=tally.retried,
            malformed=tally.malformed,
            malformed_at=tuple(tally.named),
            unreachable=tally.unreachable,
            unsent=tally.unsent,
            seconds=round(seconds, 3),
        )


def _retry_after_s(answer: aiohttp.ClientResponse) -> float:
    value = answer.headers.get("Retry-After", "")
    if not (value.isascii() and value.isdigit()):
        return RETRY_AFTER_S
    return min(float(value), RETRY_AFTER_MOST_S)
