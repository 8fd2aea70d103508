"""When a schedule runs next: Modal's periods, and cron lines with their time zone."""

from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.plane.cron import Cron

MONTH: Final = timedelta(days=30.44)  # a calendar's months matter to nobody who waits at a desk
YEAR: Final = timedelta(days=365.25)


def pause_s(schedule: Any, now: datetime | None = None) -> float:
    """Seconds until the next run (api_pb2.Schedule); raises ValueError for a cron line or zone that can't be read."""
    if schedule.WhichOneof("schedule_oneof") == "period":
        return max(_period(schedule.period).total_seconds(), 0.1)  # a period of nothing would be a busy loop
    zone = _zone(schedule.cron.timezone or "UTC")
    now = now or datetime.now(zone)
    return (Cron.parse(schedule.cron.cron_string).after(now) - now).total_seconds()


def _period(period: Any) -> timedelta:
    long: timedelta = period.years * YEAR + period.months * MONTH
    days = timedelta(weeks=period.weeks, days=period.days, hours=period.hours, minutes=period.minutes)
    return long + days + timedelta(seconds=period.seconds)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        raise ValueError(f"there is no time zone {name!r}") from None
