"""A call to Firestore as attempts, each with a deadline on the wire and one of ours, all of them within a budget."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import stamina

from actors.stores import StoreDown, StoreError
from app.store.firestore_channel import Connection, Dial, Line
from app.store.firestore_errors import (
    FOREIGN,
    Exhausted,
    NotOpen,
    PastDeadline,
    PreconditionFailed,
    store_error,
)
from contracts.base import Value

T = TypeVar("T")
Attempt = Callable[[Line, float], Awaitable[T]]
"""One attempt on a line, with its deadline on the wire in seconds."""

_WIRE_FIRST_S: Final = 0.25  # gRPC's own deadline ends an attempt tidily; ours is for when it does not
_WAIT_FIRST_S: Final = 0.05
_WAIT_MOST_S: Final = 1.0
_WAIT_FIRST_MOST_S: Final = 0.15


class Limits(Value, frozen=True, kw_only=True):
    """How long a call may take: each attempt, and all of them with the waits between.

    Two attempts that end by their deadline replace the connection, and the budget leaves time for a third.
    """

    attempt_s: float = 3.0
    budget_s: float = 9.0
    attempts: int = 8
    exhausted_wait_s: float = 1.0  # over quota: soon again would make it worse
    in_flight: int = (
        32  # attempts at once; more would only wait at the server, and meet their deadlines there
    )


Uniform = Callable[[float, float], float]
"""Gives a number between two."""


class Attempts:
    """Makes calls on a connection that it owns. Raises StoreError and nothing of Google's.

    `uniform` spreads the waits, so that those who failed together do not come again together.
    """

    def __init__(self, dial: Dial, limits: Limits, uniform: Uniform = random.uniform) -> None:
        self._limits, self._uniform = limits, uniform
        self._slots = asyncio.Semaphore(limits.in_flight)
        self.connection = Connection(dial, linger_s=limits.attempt_s + _WIRE_FIRST_S)

    async def call(self, attempt: Attempt[T], failed: Callable[[int], None]) -> T:
        """Attempt until it succeeds, is refused, or the budget is spent; `failed(0)` counts what failed."""
        try:
            async with asyncio.timeout(self._limits.budget_s):
                async for tried in self._tries():
                    with tried:
                        return await self._attempt(attempt, failed, first=tried.num == 1)
        except TimeoutError as error:
            raise PastDeadline(f"Firestore did not answer in {self._limits.budget_s:g} s") from error
        raise AssertionError("the last attempt returns or raises")

    def _tries(self) -> AsyncIterator[stamina.Attempt]:
        tries: AsyncIterator[stamina.Attempt] = stamina.retry_context(
            on=lambda error: again_after(error, self._limits, self._uniform),
            attempts=self._limits.attempts,
            timeout=None,  # the budget around it bounds the attempt that runs, too
            wait_initial=self._uniform(_WAIT_FIRST_S, _WAIT_FIRST_MOST_S),
            wait_max=_WAIT_MOST_S,
            wait_jitter=0.0,  # stamina draws its own from a source that nobody else can seed
        )
        return tries

    async def _attempt(self, attempt: Attempt[T], failed: Callable[[int], None], *, first: bool) -> T:
        async with self._slots:
            line = self.connection.take()
            return await self._attempt_on(line, attempt, failed, first=first)

    async def _attempt_on(
        self, line: Line, attempt: Attempt[T], failed: Callable[[int], None], *, first: bool
    ) -> T:
        try:
            answer = await self._bounded(attempt(line, self._limits.attempt_s))
        except StoreError as error:
            failed(0)
            self._report(line, error)
            if isinstance(error, PreconditionFailed):
                error.unsure = not first
            raise
        self.connection.answered(line)
        return answer

    def _report(self, line: Line, error: StoreError) -> None:
        if isinstance(error, PastDeadline):
            self.connection.timed_out(line)
        else:
            self.connection.answered(line)

    async def _bounded(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._limits.attempt_s + _WIRE_FIRST_S):
                return await _ours(call)
        except TimeoutError as error:
            raise PastDeadline(f"Firestore did not answer in {self._limits.attempt_s:g} s") from error


def again_after(error: Exception, limits: Limits, uniform: Uniform = random.uniform) -> bool | float:
    """Whether to try again; a number says after how many seconds, instead of the usual."""
    if isinstance(error, Exhausted):
        return limits.exhausted_wait_s * uniform(1.0, 2.0)
    return isinstance(error, StoreDown) and not isinstance(error, NotOpen)


async def _ours(call: Awaitable[T]) -> T:
    """Await a call of gRPC's; whatever it raises comes out as a StoreError."""
    try:
        return await call
    except FOREIGN as error:
        raise store_error(error) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # A channel that closes cancels its calls; nobody cancelled this task.
        raise StoreDown("the connection was closed during the call") from error
