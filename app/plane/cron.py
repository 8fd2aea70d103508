"""Cron lines of five fields: minute, hour, day of the month, month, day of the week."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

BOUNDS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
NAMES: Final = {
    name: str(number)
    for names in (["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],)
    for number, name in enumerate(names, 1)
} | {name: str(number) for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
SEARCHED: Final = timedelta(days=366 * 5)  # the 29th of February comes within it


@dataclass(frozen=True, slots=True)
class Cron:
    """When to run, to the minute."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either_day: bool
    """Both kinds of day are restricted, so one of them is enough."""

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line such as `*/15 8-18 * * mon-fri`; raises ValueError naming what can't be read."""
        fields = line.lower().split()
        if len(fields) != len(BOUNDS):
            raise ValueError(f"{line!r} is no cron line of five fields")
        minutes, hours, days, months, weekdays = (
            _values(field, low, high) for field, (low, high) in zip(fields, BOUNDS, strict=True)
        )
        either = not fields[2].startswith("*") and not fields[4].startswith("*")
        return cls(minutes, hours, days, months, frozenset(day % 7 for day in weekdays), either)

    def after(self, now: datetime) -> datetime:
        """The first time after `now`; raises ValueError when there is none, such as on a 31st of June."""
        moment = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        last = now + SEARCHED
        while moment <= last:
            if not self._on(moment):
                moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment += timedelta(minutes=1)
            else:
                return moment
        raise ValueError("this cron line never comes true")

    def _on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return in_month or in_week if self.either_day else in_month and in_week


def _values(field: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, last = _span(span, low, high, stepped=bool(step))
        if step and (not step.isdigit() or not int(step)):
            raise ValueError(f"{part!r} has no step that can be counted")
        values |= set(range(first, last + 1, int(step or 1)))
    return frozenset(values)


def _span(span: str, low: int, high: int, *, stepped: bool) -> tuple[int, int]:
    if span == "*":
        return low, high
    start, dash, end = span.partition("-")
    first = _number(start, low, high)
    if dash:
        return first, _number(end, low, high)
    return first, high if stepped else first


def _number(text: str, low: int, high: int) -> int:
    text = NAMES.get(text, text)
    if not text.isdigit() or not low <= int(text) <= high:
        raise ValueError(f"{text!r} is no number from {low} to {high}")
    return int(text)
