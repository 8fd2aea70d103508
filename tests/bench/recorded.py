"""A recorded trace: when 1,315 people took their turns in the 7,168 conversations of the Chit-Chat Challenge.

The times and who spoke are from chitchat_dataset 0.9.0 (PyPI, MIT; Perception, Control and Cognition lab, Brigham
Young University), April to November 2018. People talked to one another there, not to an agent. The file keeps no
text and no ids: for each turn, as numbers of 7 bits a byte, first all pauses since the turn before (tens of
seconds), then for each turn who took it: 0 is somebody new, n the one who was n-th last to speak.
"""

import lzma
import random
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, islice
from pathlib import Path
from typing import Final

from tests.bench.traces import RESTARTS, Trace

FILE: Final = Path(__file__).parent / "data" / "chitchat.xz"
TURNS: Final = 138_737
BEGIN_S: Final = 1_523_383_330.0
UNIT_S: Final = 10.0
AHEAD: Final = 1_000  # what the perfect choice knows here: who takes the next turns


def recorded(population: int, seed: int) -> Trace:
    """The recording, whatever population is asked for; the seed draws the restarts."""
    numbers = list(_numbers(lzma.decompress(FILE.read_bytes())))
    times = array("d", (BEGIN_S + UNIT_S * at for at in accumulate(numbers[:TURNS])))
    chats = array("q", _speakers(numbers[TURNS:]))
    people = max(chats) + 1
    dice = random.Random(seed)

    def popularity(now_s: float) -> list[int]:
        counts = Counter(islice(chats, (at := bisect_left(times, now_s)), at + AHEAD))
        return [counts[chat] for chat in range(people)]

    restarts = sorted(dice.randrange(TURNS // 2, TURNS - AHEAD) for _ in range(RESTARTS))
    firsts = tuple(bisect_left(times, times[restart]) for restart in restarts)
    return Trace(
        name="recorded", population=people, times=times, chats=chats, restarts=firsts, popularity=popularity
    )


def _numbers(data: bytes) -> Iterator[int]:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0


def _speakers(ranks: list[int]) -> Iterator[int]:
    latest: list[int] = []
    for rank in ranks:
        who = latest.pop(-rank) if rank else len(latest)
        latest.append(who)
        yield who
