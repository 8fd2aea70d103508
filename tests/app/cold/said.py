"""What is said to a container that starts, and what it tells of its start."""

from pathlib import Path
from typing import Final

import msgspec

from app.cold_start import Span
from contracts.sessions import AcceptUpdate
from contracts.turns import Incoming
from tests.trips import Trip

CHAT: Final = 7
ACCEPT: Final = AcceptUpdate(
    bot=1, update=1, incoming=Incoming(kind="message", chat=CHAT, user=CHAT, message=1, text="Good morning!")
)

UPDATE: Final = {
    "update_id": 1,
    "message": {
        "message_id": 1,
        "date": 1767225600,
        "chat": {"id": CHAT, "type": "private"},
        "from": {"id": CHAT, "is_bot": False, "first_name": "Ada"},
        "text": "Good morning!",
    },
}


class Start(msgspec.Struct, frozen=True):
    """What a container's start was made of; modules by the moment at which they were there."""

    spans: list[Span]
    trips: list[Trip]
    modules: dict[str, list[str]]
    held_ms: float = 0.0


def held_ms(process: int | str = "self") -> float:
    """How long its main thread was ready to run while others had the processor; 0 where the kernel does not tell.

    Linux, sched-stats.rst: nanoseconds on the processor, nanoseconds of waiting for it, and how often.
    """
    told = Path(f"/proc/{process}/schedstat")
    return int(told.read_text().split()[1]) / 1e6 if told.exists() else 0.0
