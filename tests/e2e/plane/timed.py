"""How long something took, and whether the machine had the time for it."""

import resource
import sys
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from tests import commands

PROBE: Final = "sum(range(5_000_000))"  # about 0.1 s of nothing but the processor
PROBE_S: Final = 30.0  # also on a machine that does a hundred other things
CALM: Final = 1.5  # a probe that takes so many times its processor time had to share a core


@dataclass(frozen=True, slots=True)
class Took:
    """What a piece of work took, in seconds."""

    wall_s: float
    cpu_s: float
    """Of the processes that it started."""
    calm: bool
    """Whether a process that only computes had a core of its own before and after it."""

    @property
    def judged_s(self) -> float:
        """The wall time where that says something of the work, else the processor's, which is the least of it."""
        return self.wall_s if self.calm else self.cpu_s


async def timed(work: Awaitable[None]) -> Took:
    """Do it."""
    calm_before = await _is_calm()
    began, used = time.monotonic(), _cpu_of_children_s()
    await work
    wall_s, cpu_s = time.monotonic() - began, _cpu_of_children_s() - used
    return Took(wall_s, cpu_s, calm_before and await _is_calm())


async def _is_calm() -> bool:
    began, used = time.monotonic(), _cpu_of_children_s()
    await commands.run(sys.executable, "-S", "-c", PROBE, within_s=PROBE_S)
    return time.monotonic() - began < CALM * (_cpu_of_children_s() - used)


def _cpu_of_children_s() -> float:
    """Of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
