"""What can be made to go wrong, on the way to the Bot API and on the way to the webhook, each one counted."""

from collections import Counter
from typing import Literal, TypeVar

import msgspec

CallFaultKind = Literal[
    "retry_after",  # 429; `seconds` is what it says, 0 leaves it out
    "server_error",  # `status`, 500 if not given
    "forbidden",  # 403, the bot was blocked
    "reset_before",  # connection reset, the body was never read
    "reset_after",  # applied, then the connection is reset
    "hang",  # read, never applied, never answered
    "hang_after",  # applied, never answered
    "slow",  # applied and answered, `seconds` later
    "malformed",  # applied, the answer is no JSON
]
DeliveryFaultKind = Literal[
    "duplicate",  # delivered once more after the answer
    "duplicate_at_once",  # delivered twice at the same time
    "held",  # held back for `seconds`, so that other chats overtake
    "answer_lost",  # the answer is thrown away: redelivered
    "impatient",  # gives up after `seconds` instead of 60
]


F = TypeVar("F", "CallFault", "DeliveryFault")


class CallFault(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the next `times` calls of `method` (empty: any), to `chat` (None: any), go wrong."""

    kind: CallFaultKind
    method: str = ""
    chat: int | None = None
    times: int = 1
    seconds: float = 0.0
    status: int = 500

    def fits(self, method: str, chat: int | None) -> bool:
        return self.method.lower() in ("", method.lower()) and self.chat in (None, chat)


class DeliveryFault(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the next `times` deliveries, of `lane` (empty: any; `chat:7`, `user:7`), go wrong."""

    kind: DeliveryFaultKind
    lane: str = ""
    times: int = 1
    seconds: float = 0.0

    def fits(self, lane: str) -> bool:
        return self.lane in ("", lane)


class FaultScript:
    """The faults still to inject, in the order of adding, and how many were injected by kind."""

    def __init__(self) -> None:
        self.injected: Counter[str] = Counter()
        self._calls: list[CallFault] = []
        self._deliveries: list[DeliveryFault] = []

    def add(self, *faults: CallFault | DeliveryFault) -> None:
        """Queue faults; the first that fits a call or a delivery hits it."""
        for fault in faults:
            if isinstance(fault, CallFault):
                self._calls.append(fault)
            else:
                self._deliveries.append(fault)

    def clear(self) -> None:
        """Inject nothing more; the counts stay."""
        self._calls.clear()
        self._deliveries.clear()

    def for_call(self, method: str, chat: int | None) -> CallFault | None:
        """Take the fault for this call, if one fits."""
        found = next((fault for fault in self._calls if fault.fits(method, chat)), None)
        return None if found is None else self._take(self._calls, found)

    def for_connection(self, method: str) -> CallFault | None:
        """Take the fault that strikes before the body is read, and so before the chat is known."""
        fits = (each for each in self._calls if each.kind == "reset_before" and each.fits(method, each.chat))
        found = next(fits, None)
        return None if found is None else self._take(self._calls, found)

    def for_delivery(self, lane: str) -> DeliveryFault | None:
        """Take the fault for this delivery, if one fits."""
        found = next((fault for fault in self._deliveries if fault.fits(lane)), None)
        return None if found is None else self._take(self._deliveries, found)

    def _take(self, waiting: list[F], fault: F) -> F:
        place = waiting.index(fault)
        if fault.times > 1:
            waiting[place] = msgspec.structs.replace(fault, times=fault.times - 1)
        else:
            del waiting[place]
        self.injected[fault.kind] += 1
        return fault
