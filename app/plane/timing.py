"""When a schedule runs next: Modal's periods, and cron lines with their time zone."""

from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.plane.cron import Cron

MONTH: Final = timedelta(days=30.44)  # a calendar's months matter to nobody who waits at a desk
YEAR: Final = timedelta(days=365.25)

HOUR: Final = timedelta(hours=1)
HOURS: Final = 24
LATE_S: Final = 0.01  # a loop may wake a millisecond early, and what runs before its minute runs again in it


def pause_s(schedule: Any, now: datetime | None = None) -> float:
    """Seconds until the next run (api_pb2.Schedule); raises ValueError for a cron line or zone that can't be read."""
    if schedule.WhichOneof("schedule_oneof") == "period":
        return max(_period(schedule.period).total_seconds(), 0.1)  # a period of nothing would be a busy loop
    now = now or datetime.now(_zone(schedule.cron.timezone or "UTC"))
    return _until_next(Cron.parse(schedule.cron.cron_string), now) + LATE_S


def _until_next(cron: Cron, now: datetime) -> float:
    """In hours that pass: where clocks are set, those on the wall are more or fewer."""
    due = cron.after(now)
    on_the_wall = due - now
    if (
        on_the_wall <= HOUR and len(cron.hours) == HOURS
    ):  # hourly or oftener: it runs in an hour told twice, too
        return on_the_wall.total_seconds()
    while due.timestamp() <= now.timestamp():  # it ran when this hour was told for the first time
        due = cron.after(due)
    return due.timestamp() - now.timestamp()


def _period(period: Any) -> timedelta:
    long: timedelta = period.years * YEAR + period.months * MONTH
    days = timedelta(weeks=period.weeks, days=period.days, hours=period.hours, minutes=period.minutes)
    return long + days + timedelta(seconds=period.seconds)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        raise ValueError(f"there is no time zone {name!r}") from None
