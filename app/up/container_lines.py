"""Picks out of what containers print the lines that a person should see."""

from typing import Final

import msgspec

LEVELS: Final = frozenset({"warning", "error", "critical"})
LONGEST: Final = 500  # characters of a line
QUIET: Final = frozenset({"level", "event", "timestamp", "exception"})


CLIENT: Final = "modal-client"  # says twice of each server that it is ready


class _Event(msgspec.Struct):
    level: str
    event: str
    logger: str = ""


def worth_telling(text: str) -> list[str]:
    """Of our own log, JSON lines, warnings and worse; of anything else, such as a traceback, every line."""
    told = (_told(line) for line in text.splitlines() if line.strip())
    return [line[:LONGEST] for line in told if line]


# ---------------------------------------------------------------- helpers


def _told(line: str) -> str:
    try:
        event = msgspec.json.decode(line, type=_Event)
        fields = msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "" if line.startswith(f"[{CLIENT}]") else line
    if event.level not in LEVELS or event.logger == CLIENT:
        return ""
    more = " ".join(f"{name}={value}" for name, value in fields.items() if name not in QUIET)
    return f"{event.level}: {event.event} {more}".rstrip()
