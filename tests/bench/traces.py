"""Seeded traces of who writes when: skewed popularity, sessions of several messages, days and nights, drift, a scan."""

import random
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from math import pi, sin
from typing import Final

Request = tuple[float, int]
"""When (Unix seconds) and which chat."""

BEGIN_S: Final = 1_800_000_000.0
DAY_S: Final = 86_400.0
DAYS: Final = 14
SPAN_S: Final = DAYS * DAY_S
RESTARTS: Final = 20  # of each trace, in its second half: the first half is what there is to learn from
MESSAGES: Final = 5  # of a session, on average: geometric
PAUSE_S: Final = 40.0  # between two messages of a session, on average: reading, thinking, typing
DRIFT: Final = 0.05  # of the chats change places in popularity each day
SCAN_DAY: Final = 10
SCANNED: Final = 50  # cold chats for each that there is otherwise: a million on 20,000
ZONES: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests in order of time; a restart is the index of the first request after it.

    `popularity` gives each chat's share of the requests to come at a time, in any unit: what the perfect choice knows.
    """

    name: str
    population: int
    times: "array[float]"
    chats: "array[int]"
    restarts: tuple[int, ...]
    popularity: Callable[[float], Sequence[float]]

    def best(self, restart: int, k: int) -> list[int]:
        """The `k` chats that will be wanted most from a restart on."""
        shares = self.popularity(self.times[restart])
        return nlargest(k, range(len(shares)), key=shares.__getitem__)


Maker = Callable[[int, int], Trace]
"""Makes a trace of a population of chats, with some ten requests each, from a seed."""


def zipf(exponent: float, population: int, seed: int) -> Trace:
    """Independent requests: the chat of rank r is wanted 1 / r ** exponent times as often as the first."""
    dice = random.Random(f"zipf {exponent} {seed}")
    shares = _shares(exponent, population, dice)
    chats = dice.choices(range(population), shares, k=10 * population)
    times = _moments(dice, len(chats))
    return _trace(f"zipf {exponent}", population, zip(times, chats, strict=True), lambda _: shares)


def sessions(population: int, seed: int) -> Trace:
    """Chats that come by Zipf 1.0 and then send several messages in a row."""
    dice = random.Random(f"sessions {seed}")
    shares = _shares(1.0, population, dice)
    starts = _moments(dice, 10 * population // MESSAGES)
    visits = zip(starts, dice.choices(range(population), shares, k=len(starts)), strict=True)
    return _trace("sessions", population, _messages(dice, visits), lambda _: shares)


def diurnal(population: int, seed: int) -> Trace:
    """Sessions of people who are awake from 7 to 23 o'clock, each in a time zone."""
    dice = random.Random(f"diurnal {seed}")
    shares = _shares(1.0, population, dice)
    zones = [dice.randrange(ZONES) for _ in range(population)]

    def popularity(now_s: float) -> list[float]:
        awake = [_awake(now_s, zone) for zone in range(ZONES)]
        return [share * awake[zone] for share, zone in zip(shares, zones, strict=True)]

    starts = _moments(dice, 25 * population // MESSAGES)  # some two of five fall into a day
    drawn = dice.choices(range(population), shares, k=len(starts))
    visits = (
        (at, chat) for at, chat in zip(starts, drawn, strict=True) if dice.random() < _awake(at, zones[chat])
    )
    return _trace("diurnal", population, _messages(dice, visits), popularity)


def drifting(population: int, seed: int) -> Trace:
    """Sessions by Zipf 1.0, of which some chats rise and some fall every day."""
    dice = random.Random(f"drifting {seed}")
    days = [_shares(1.0, population, dice)]
    for _ in range(DAYS):
        days.append(_swapped(days[-1], dice))
    visits = [visit for day in range(DAYS) for visit in _visits_of(day, days[day], dice)]
    requests = _messages(dice, visits)
    return _trace("drifting", population, requests, lambda now_s: days[int((now_s - BEGIN_S) // DAY_S)])


def scan(population: int, seed: int) -> Trace:
    """Zipf 1.0, and within a day a multitude of chats that are seen once and never again; the restarts come after."""
    calm = zipf(1.0, population, seed)
    shares = calm.popularity(BEGIN_S)
    begin_s = BEGIN_S + SCAN_DAY * DAY_S
    cold = SCANNED * population
    scanned = ((begin_s + DAY_S * n / cold, population + n) for n in range(cold))
    requests = (*zip(calm.times, calm.chats, strict=True), *scanned)
    end_s = begin_s + DAY_S
    return _trace("scan", population, requests, lambda _: shares, restarts_s=(end_s, end_s + DAY_S / 4))


MAKERS: Final[dict[str, Maker]] = {
    "zipf 0.8": lambda population, seed: zipf(0.8, population, seed),
    "zipf 1.0": lambda population, seed: zipf(1.0, population, seed),
    "zipf 1.2": lambda population, seed: zipf(1.2, population, seed),
    "sessions": sessions,
    "diurnal": diurnal,
    "drifting": drifting,
    "scan": scan,
}


# ---------------------------------------------------------------- helpers


def _shares(exponent: float, population: int, dice: random.Random) -> list[float]:
    """Zipf's shares, dealt out so that a chat's number says nothing about its rank."""
    shares = [rank**-exponent for rank in range(1, population + 1)]
    dice.shuffle(shares)
    return shares


def _moments(
    dice: random.Random, count: int, begin_s: float = BEGIN_S, span_s: float = SPAN_S
) -> list[float]:
    return sorted(begin_s + span_s * dice.random() for _ in range(count))


def _messages(dice: random.Random, visits: Iterable[Request]) -> Iterator[Request]:
    """Each visit's messages; what falls behind the trace's end is left out."""
    for at, chat in visits:
        now_s = at
        while now_s < BEGIN_S + SPAN_S:
            yield now_s, chat
            if dice.random() < 1 / MESSAGES:
                break
            now_s += dice.expovariate(1 / PAUSE_S)


def _awake(now_s: float, zone: int) -> float:
    """How likely somebody of a zone writes: hardly at night, most in the middle of the day."""
    hour = (now_s / 3600 + zone * 24 / ZONES) % 24
    return 0.02 + (0.98 * sin(pi * (hour - 7) / 16) if 7 <= hour < 23 else 0.0)


def _swapped(shares: Sequence[float], dice: random.Random) -> list[float]:
    """The next day's shares."""
    after = list(shares)
    for _ in range(int(DRIFT * len(after) / 2)):
        one, other = dice.randrange(len(after)), dice.randrange(len(after))
        after[one], after[other] = after[other], after[one]
    return after


def _visits_of(day: int, shares: Sequence[float], dice: random.Random) -> Iterator[Request]:
    count = 10 * len(shares) // (MESSAGES * DAYS)
    starts = _moments(dice, count, BEGIN_S + day * DAY_S, DAY_S)
    return zip(starts, dice.choices(range(len(shares)), shares, k=count), strict=True)


def _trace(
    name: str,
    population: int,
    requests: Iterable[Request],
    popularity: Callable[[float], Sequence[float]],
    restarts_s: tuple[float, float] = (BEGIN_S + SPAN_S / 2, BEGIN_S + SPAN_S * 0.97),
) -> Trace:
    """Put the requests in order, and restarts at even distances within `restarts_s`."""
    ordered = sorted(requests)
    times = array("d", (at for at, _ in ordered))
    first_s, last_s = restarts_s
    moments = (first_s + (last_s - first_s) * n / (RESTARTS - 1) for n in range(RESTARTS))
    return Trace(
        name=name,
        population=population,
        times=times,
        chats=array("q", (chat for _, chat in ordered)),
        restarts=tuple(bisect_left(times, moment) for moment in moments),
        popularity=popularity,
    )
