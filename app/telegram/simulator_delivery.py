"""Updates on their way to the bot: one queue a chat, redelivered by Telegram's rules until they expire.

The rules are those of the Bot API server (tdlib/telegram-bot-api, WebhookActor.cpp). Nothing here knows HTTP:
`deliver` brings an update to the bot, clock and chance are given.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import msgspec

from actors.ports import Chance, Clock
from app.telegram.simulator_faults import FaultScript

MESSAGE_LIFETIME_S = 24 * 3600.0
CALLBACK_LIFETIME_S = 150.0
INLINE_LIFETIME_S = 30.0
RESPONSE_TIMEOUT_S = 60.0
MAX_RETRY_AFTER_S = 3600.0
SLOWEST_RESEND_S = (60.0, 120.0)  # the doubling stops at a number drawn from between these


class Outcome(msgspec.Struct, frozen=True):
    """What came of an attempt; `retry_after_s` is the bot's wish, 0 for none."""

    delivered: bool
    error: str = ""
    retry_after_s: float = 0.0


class Counts(msgspec.Struct):
    """Updates that came in and that got through; `duplicates` are an update's attempts after its first."""

    updates: int = 0
    delivered: int = 0
    attempts: int = 0
    duplicates: int = 0
    expired: int = 0
    refused: int = 0


class Pending(msgspec.Struct, eq=False):
    """An update not confirmed yet; times by the clock's monotonic seconds."""

    update_id: int
    lane: str
    body: bytes
    expires_at_s: float
    wakeup_at_s: float
    delay_s: float = 1.0
    fails: int = 0
    attempts: int = 0


Deliver = Callable[[bytes], Awaitable[Outcome]]
"""Brings an update's JSON to the bot; says how it went instead of raising."""


class DeliveryQueue:
    """All updates not confirmed yet: pushed through `deliver` while connected, else read by `getUpdates`."""

    def __init__(
        self,
        clock: Clock,
        chance: Chance,
        faults: FaultScript,
        *,
        first_update_id: int,
        max_pending: int = 100_000,
    ) -> None:
        self.counts = Counts()
        self.last_error = ""
        self.last_error_at_s = 0.0
        self._clock, self._chance, self._faults = clock, chance, faults
        self._next_id = first_update_id
        self._max_pending = max_pending  # bounds memory when no bot ever confirms
        self._pending: dict[int, Pending] = {}
        self._lanes: dict[str, deque[Pending]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._deliver: Deliver | None = None
        self._slots = asyncio.Semaphore(1)
        self._arrived = asyncio.Event()

    def push(self, body: dict[str, object], lane: str, lifetime_s: float = MESSAGE_LIFETIME_S) -> int:
        """Queue an update and give its id, one above the last; `lane` orders it, an empty one orders nothing.

        Raises OverflowError when too many updates wait.
        """
        if len(self._pending) >= self._max_pending:
            raise OverflowError(f"{self._max_pending} updates wait for the bot")
        update_id, self._next_id = self._next_id, self._next_id + 1
        now = self._clock.monotonic_s()
        update = Pending(
            update_id=update_id,
            lane=lane or f"update:{update_id}",
            body=msgspec.json.encode({"update_id": update_id} | body),
            expires_at_s=now + lifetime_s,
            wakeup_at_s=now,
        )
        self._enqueue(update)
        return update_id

    def connect(self, deliver: Deliver, max_connections: int = 40) -> None:
        """Push through `deliver` from now on, at most `max_connections` at once, one for each lane."""
        self._deliver = deliver
        self._slots = asyncio.Semaphore(max_connections)
        for lane in self._lanes:
            self._run(lane, deliver)

    async def disconnect(self) -> None:
        """Stop pushing; attempts under way are given up, what is not confirmed stays."""
        self._deliver = None
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def pending(self) -> int:
        """How many updates wait."""
        return len(self._pending)

    def clear(self) -> None:
        """Forget all that waits (`drop_pending_updates`); only while disconnected."""
        self._pending.clear()
        self._lanes.clear()

    def confirm(self, offset: int) -> None:
        """Forget every update below `offset`; a negative one keeps that many from the end (`getUpdates`)."""
        ids = list(self._pending)
        kept = set(ids[offset:]) if offset < 0 else {each for each in ids if each >= offset}
        for each in ids:
            if each not in kept:
                self._drop(self._pending[each])

    def peek(self, limit: int) -> Sequence[bytes]:
        """The oldest updates as JSON, at most `limit`; expired ones are dropped."""
        now = self._clock.monotonic_s()
        for update in [each for each in self._pending.values() if each.expires_at_s < now]:
            self._expire(update)
        return [update.body for update in islice(self._pending.values(), limit)]

    async def arrival(self) -> None:
        """Wait for the next push."""
        self._arrived.clear()
        await self._arrived.wait()

    async def idle(self) -> None:
        """Wait until every lane is empty; only while connected."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    def _enqueue(self, update: Pending) -> None:
        self.counts.updates += 1
        self._pending[update.update_id] = update
        self._lanes.setdefault(update.lane, deque()).append(update)
        self._arrived.set()
        if self._deliver is not None:
            self._run(update.lane, self._deliver)

    def _run(self, lane: str, deliver: Deliver) -> None:
        if lane not in self._running:
            task = asyncio.create_task(self._drain(lane, deliver), name=f"deliver {lane}")
            self._running[lane] = task
            task.add_done_callback(lambda ended: self._ended(lane, ended))

    def _ended(self, lane: str, task: asyncio.Task[None]) -> None:
        if self._running.get(lane) is task:  # cancelled or failed: a lane that ran dry has left already
            del self._running[lane]

    async def _drain(self, lane: str, deliver: Deliver) -> None:
        while waiting := self._lanes.get(lane):
            update = waiting[0]
            await self._clock.sleep(max(0.0, update.wakeup_at_s - self._clock.monotonic_s()))
            if self._clock.monotonic_s() > update.expires_at_s:
                self._expire(update)
            else:
                self._settle(update, await self._attempt(update, deliver))
        del self._running[lane]  # here and not when the task ends, so that a push in between starts a new one

    async def _attempt(self, update: Pending, deliver: Deliver) -> Outcome:
        fault = self._faults.for_delivery(update.lane)
        if fault is None:
            return await self._post(update, deliver)
        match fault.kind:
            case "duplicate":
                await self._post(update, deliver)
            case "duplicate_at_once":
                return (await asyncio.gather(self._post(update, deliver), self._post(update, deliver)))[0]
            case "held":
                await self._clock.sleep(fault.seconds)
            case "answer_lost":
                await self._post(update, deliver)
                return Outcome(False, "Webhook connection closed")
            case "impatient":
                return await self._post(update, deliver, fault.seconds)
        return await self._post(update, deliver)

    async def _post(
        self, update: Pending, deliver: Deliver, timeout_s: float = RESPONSE_TIMEOUT_S
    ) -> Outcome:
        async with self._slots:
            self.counts.attempts += 1
            self.counts.duplicates += update.attempts > 0
            update.attempts += 1
            return await self._within(timeout_s, deliver(update.body))

    async def _within(self, timeout_s: float, answer: Awaitable[Outcome]) -> Outcome:
        """Race the answer against the given clock, which asyncio's own timeouts do not know."""
        asked = asyncio.ensure_future(answer)
        alarm = asyncio.ensure_future(self._clock.sleep(timeout_s))
        try:
            await asyncio.wait({asked, alarm}, return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() else Outcome(False, "Read timeout expired")
        finally:
            asked.cancel()
            alarm.cancel()
            await asyncio.gather(asked, alarm, return_exceptions=True)

    def _settle(self, update: Pending, outcome: Outcome) -> None:
        if outcome.delivered:
            self.counts.delivered += 1
            self._drop(update)
            return
        self.counts.refused += 1
        self.last_error, self.last_error_at_s = outcome.error, self._clock.unix_s()
        self._put_off(update, min(outcome.retry_after_s, MAX_RETRY_AFTER_S))

    def _put_off(self, update: Pending, retry_after_s: float) -> None:
        """The first redelivery is immediate, then 2, 4, 8 s and so on; the bot's wish replaces the delay."""
        wait_s = retry_after_s
        if not retry_after_s and update.fails:
            update.delay_s = min(update.delay_s * 2, self._chance.uniform(*SLOWEST_RESEND_S))
            wait_s = update.delay_s
        update.fails += 1
        update.wakeup_at_s = self._clock.monotonic_s() + wait_s
        if update.wakeup_at_s > update.expires_at_s:
            self._expire(update)

    def _expire(self, update: Pending) -> None:
        self.counts.expired += 1
        self._drop(update)

    def _drop(self, update: Pending) -> None:
        if self._pending.pop(update.update_id, None) is None:
            return  # dropped already: `clear` while an attempt ended
        lane = self._lanes[update.lane]
        lane.remove(update)
        if not lane:
            del self._lanes[update.lane]
