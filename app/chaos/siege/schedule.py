"""When which fault strikes where: drawn from the seed before the siege begins, so that a seed tells it all."""

import random
from collections.abc import Mapping
from typing import Final, NamedTuple

from app.fleet import AGENT, GATEWAY, SESSIONS, SKILLS
from contracts.base import Value

FIRST, LAST = 0.05, 0.95
"""Faults strike in this part of the siege: people write before the first and after the last."""


class Kind(NamedTuple):
    """A kind of fault: how often it strikes in a minute, on whom, how large it is, and whether it ends an owner.

    `size` is drawn from between the two: seconds, or calls.
    """

    per_minute: float
    targets: tuple[str, ...]
    size: tuple[float, float]
    cuts: bool
    meaning: str


KINDS: Final[Mapping[str, Kind]] = {
    "kill": Kind(8, (AGENT, SESSIONS, AGENT, SESSIONS, GATEWAY, SKILLS), (0, 0), True, "kill -9 a container"),
    "preempt": Kind(
        4, (AGENT, SESSIONS), (0, 0), True, "a container is told to end, its inputs run elsewhere"
    ),
    "delay": Kind(4, (AGENT, SESSIONS), (5, 20), False, "a call is taken 0.3 s late"),
    "drop": Kind(4, (AGENT, SESSIONS), (5, 20), False, "a call is refused as unavailable"),
    "lose_reply": Kind(
        4, (AGENT, SESSIONS), (5, 20), False, "a call is taken and its caller told it is lost"
    ),
    "refuse_capacity": Kind(
        2, (AGENT, SESSIONS, SKILLS), (2, 6), True, "the containers die, none can start for 2 to 6 s"
    ),
    "second_owner": Kind(2, (SESSIONS, SESSIONS, AGENT), (0, 0), True, "two containers for a pool of one"),
    "redeploy": Kind(1, ("",), (0, 0), True, "a rolling deploy of the app, by Modal's client"),
    "telegram": Kind(8, ("",), (1, 3), False, "Telegram answers late, wrongly or never, and delivers again"),
}
"""All kinds of fault on the plane."""


class Strike(Value, frozen=True, kw_only=True):
    """One fault: seconds after the start, its kind, whom it is for, how large it is; `pick` chooses among several."""

    at_s: float
    kind: str
    target: str = ""
    size: float = 0.0
    pick: float = 0.0


def schedule(
    seed: int,
    seconds: float,
    *,
    only: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    intensity: float = 1.0,
) -> tuple[Strike, ...]:
    """Every chosen kind at least once, in the order of time; the same arguments give the same strikes.

    Each kind has dice of its own, so that leaving one out does not move the others.
    """
    chosen = [kind for kind in KINDS if kind in (only or KINDS) and kind not in without]
    if not intensity:
        return ()
    strikes = [each for kind in chosen for each in _strikes(kind, seed, seconds, intensity)]
    return tuple(sorted(strikes, key=lambda strike: strike.at_s))


# ---------------------------------------------------------------- helpers


def _strikes(name: str, seed: int, seconds: float, intensity: float) -> list[Strike]:
    kind, dice = KINDS[name], random.Random(f"{seed} {name}")
    count = max(1, round(kind.per_minute * intensity * seconds / 60.0))
    return [
        Strike(
            at_s=round(seconds * dice.uniform(FIRST, LAST), 3),
            kind=name,
            target=dice.choice(kind.targets),
            size=round(dice.uniform(*kind.size), 3),
            pick=dice.random(),
        )
        for _ in range(count)
    ]
