"""Asks an actor again when its answer says that this can help, a bounded number of times."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from actors.ports import Clock, Unreachable
from contracts.base import Message
from contracts.faults import Busy, Fault

Reply = TypeVar("Reply", bound=Message)

PAUSES_S = (0.1, 0.5, 2.0)  # a store's blink is over by then; a longer outage is the sweeper's business
PATIENT_S = (*PAUSES_S, 5.0, 10.0)  # for what would be lost: a paid answer, a message that was sent
LONGEST_PAUSE_S = 10.0  # whatever an answer asks for: who insists holds a turn


async def insist(
    clock: Clock, ask: Callable[[], Awaitable[Reply]], pauses_s: tuple[float, ...] = PAUSES_S
) -> Reply | Fault:
    """Give the first answer that is no retryable fault, or the last fault; Unreachable counts as `Busy`."""
    reply = await _once(ask)
    for pause_s in pauses_s:
        if not isinstance(reply, Fault) or not reply.retry:
            return reply
        await clock.sleep(min(max(pause_s, reply.retry_after_s), LONGEST_PAUSE_S))
        reply = await _once(ask)
    return reply


async def _once(ask: Callable[[], Awaitable[Reply]]) -> Reply | Fault:
    try:
        return await ask()
    except Unreachable as unreachable:
        return Busy(detail=str(unreachable))
