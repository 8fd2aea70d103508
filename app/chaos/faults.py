"""What goes wrong and how often: each kind's rate is drawn from the seed, each injection counted."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A kind of fault: how likely it is for each call of that sort, or how often it comes in an hour."""

    where: str
    rate: float
    meaning: str


KINDS: Final[Mapping[str, Kind]] = {
    # for each call
    "store_unavailable": Kind("store", 0.006, "refused before anything was applied"),
    "store_reply_lost": Kind("store", 0.004, "applied, and the caller is told that the store is down"),
    "store_slow": Kind("store", 0.006, "answered after 0.5 to 4 s"),
    "store_hang": Kind("store", 0.001, "never applied, never answered: the caller's deadline"),
    "store_late": Kind("store", 0.002, "applied after the caller's deadline had passed"),
    "store_contention": Kind("store", 0.004, "another writer changes the session just before"),
    "store_killed_before": Kind("store", 0.0004, "the caller's container dies before its write is applied"),
    "store_killed_after": Kind("store", 0.0004, "the caller's container dies when its write was applied"),
    "telegram_429_short": Kind("send", 0.010, "too many requests, try again in 1 to 4 s"),
    "telegram_429_long": Kind("send", 0.002, "too many requests, try again in 20 to 90 s"),
    "telegram_429_bare": Kind("send", 0.003, "too many requests, without a hint"),
    "telegram_5xx": Kind("send", 0.010, "Telegram's own failure, nothing sent"),
    "telegram_page": Kind("send", 0.003, "a proxy's page: a 504 may have been sent, any other was not"),
    "telegram_reset_before": Kind("send", 0.008, "connection lost before the request was written"),
    "telegram_reset_after": Kind("send", 0.003, "sent, then the connection is lost"),
    "telegram_hang": Kind("send", 0.001, "not sent, never answered"),
    "telegram_hang_after": Kind("send", 0.001, "sent, never answered"),
    "telegram_late": Kind("send", 0.001, "sent after the caller's deadline had passed"),
    "telegram_forbidden": Kind("send", 0.002, "the bot was blocked"),
    "telegram_entities": Kind("send", 0.006, "the formatting is refused"),
    "telegram_killed_before": Kind("send", 0.001, "the agent dies before its message is sent"),
    "telegram_killed_after": Kind("send", 0.001, "the agent dies when its message was sent"),
    "ask_lost": Kind("ask", 0.0010, "a message between actors never arrives"),
    "ask_reply_lost": Kind("ask", 0.0010, "it is handled, and the answer never arrives"),
    "ask_slow": Kind("ask", 0.0030, "it arrives after 0.5 to 6 s"),
    "ask_twice": Kind("ask", 0.0030, "the same input is run twice"),
    "ask_killed": Kind("ask", 0.0004, "the caller's container dies while it waits"),
    "tell_lost": Kind("tell", 0.010, "a ticket never arrives"),
    "tell_slow": Kind("tell", 0.020, "a ticket arrives after 1 to 20 s"),
    "tell_twice": Kind("tell", 0.020, "a ticket arrives twice"),
    "tell_killed": Kind("tell", 0.003, "the gateway dies between accept and ticket"),
    "update_duplicate": Kind("update", 0.020, "delivered once more"),
    "update_at_once": Kind("update", 0.020, "delivered twice at the same time"),
    "update_held": Kind("update", 0.020, "held back, so that other chats overtake"),
    "update_answer_lost": Kind("update", 0.020, "our answer is lost: delivered again"),
    "update_impatient": Kind("update", 0.010, "Telegram gives up after 0.05 to 1 s"),
    "model_fails": Kind("model", 0.020, "the model says no"),
    "model_slow": Kind("model", 0.020, "the model takes 10 to 40 s"),
    "model_hangs": Kind("model", 0.004, "the model never answers"),
    "model_empty": Kind("model", 0.010, "the model's answer is empty"),
    # in an hour
    "agent_killed": Kind("hour", 20, "a ChatAgent's container is killed"),
    "shard_killed": Kind("hour", 12, "a shard's container is killed"),
    "registry_killed": Kind("hour", 6, "the registry's container is killed"),
    "gateway_killed": Kind("hour", 10, "a gateway is killed"),
    "rolling_deploy": Kind("hour", 4, "new containers start while the old ones finish"),
    "second_owner": Kind("hour", 4, "a shard has two owners for minutes"),
    "store_outage": Kind("hour", 4, "the store is down for 5 to 60 s"),
    "no_capacity": Kind("hour", 4, "a pool takes no input for 5 to 40 s"),
    "sweeper_late": Kind("hour", 4, "the sweeper does not run for 20 to 90 s"),
    "chat_poisoned": Kind(
        "hour", 2, "every message to one chat ends in Telegram's own failure for 30 to 50 minutes"
    ),
    "clock_skewed": Kind("hour", 6, "a container starts with its clock up to 10 minutes off"),
    # for each call; below the others, so that the seeds of old go on to draw those as they did
    "store_denied": Kind("store", 0.001, "refused: no permission"),
    "store_exhausted": Kind("store", 0.004, "refused: over quota"),
    "model_tools": Kind(
        "model", 0.030, "the model calls tools, some of which do not exist, and may not stop"
    ),
    "store_no_index": Kind("store", 0.004, "a query of warming is refused: it needs an index"),
    # for each single call of Firestore's on the wire, beside those of stores
    "rpc_aborted": Kind("rpc", 0.010, "a commit meets another one on its documents, and is not applied"),
    "rpc_locked": Kind("rpc", 0.004, "a commit has its time, and is seen up to 3 s later"),
    "rpc_reply_hangs": Kind("rpc", 0.003, "a commit is applied, and never answered"),
    "rpc_cut": Kind("rpc", 0.006, "a stream of documents ends in the middle"),
    "rpc_black_hole": Kind("rpc", 0.0003, "a connection swallows every call from now on"),
}
"""All kinds of fault."""

INTENSITIES: Final = (0.0, 0.3, 1.0, 1.0, 3.0)
"""A seed multiplies each kind's rate by one of these: some runs know no 429, others little else."""


class Faults:
    """Draws faults while `active`; `injected` counts them by kind."""

    def __init__(
        self,
        dice: random.Random,
        *,
        only: Iterable[str] = (),
        without: Iterable[str] = (),
        intensity: float = 1.0,
    ) -> None:
        """`only` and `without` narrow the kinds down; `intensity` multiplies all rates."""
        chosen, unwanted = frozenset(only) or frozenset(KINDS), frozenset(without)
        self.injected: Counter[str] = Counter()
        self.active = True
        self._dice = dice
        drawn = _drawn(dice)
        self.rates = {
            name: intensity * max(rate, KINDS[name].rate * bool(only)) if name in chosen - unwanted else 0.0
            for name, rate in drawn.items()
        }
        self._sorts: dict[str, list[tuple[str, float]]] = {}
        for name, kind in KINDS.items():
            if self.rates[name]:
                self._sorts.setdefault(kind.where, []).append((name, self.rates[name]))

    def draw(self, where: str) -> str:
        """The fault for a call of that sort, counted; an empty string for none. One draw a call."""
        left = self._dice.random()
        if not self.active:
            return ""
        for name, rate in self._sorts.get(where, ()):
            left -= rate
            if left < 0:
                self.injected[name] += 1
                return name
        return ""

    def not_applicable(self, name: str) -> str:
        """Take back a fault that this call can't have."""
        self.injected[name] -= 1
        return ""

    def strike(self, name: str) -> bool:
        """Count a fault that came by the hour; says whether it may happen."""
        if self.active:
            self.injected[name] += 1
        return self.active

    def pause_s(self, name: str) -> float:
        """Seconds until this fault comes next by the hour; infinite when it does not."""
        rate = self.rates[name]
        return self._dice.expovariate(rate / 3600.0) if rate else float("inf")


def _drawn(dice: random.Random) -> dict[str, float]:
    """Each kind's rate; those of one store alone come from a copy of the dice, so that the others go on as ever."""
    drawn = {
        name: kind.rate * dice.choice(INTENSITIES) for name, kind in KINDS.items() if kind.where != "rpc"
    }
    copy = random.Random()
    copy.setstate(dice.getstate())
    return drawn | {
        name: kind.rate * copy.choice(INTENSITIES) for name, kind in KINDS.items() if kind.where == "rpc"
    }
