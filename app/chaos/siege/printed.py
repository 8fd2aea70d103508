"""What the containers of a siege have printed: who claimed which turn, and whether a secret is among it."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from app.chaos.siege.evidence import Problem
from app.plane.logs import Line

Claimed = Callable[[str, str], None]
"""Hears of a lease, and of the container that works under it."""


class Printed:
    """A plane's listener. It keeps no line, only what it has found."""

    def __init__(self, claimed: Claimed) -> None:
        self._claimed = claimed
        self._private: Mapping[str, str] = {}
        self._found: dict[str, str] = {}
        self.lines = 0

    def search_for(self, private: Mapping[str, str]) -> None:
        """Look for these texts from now on, by what they are called."""
        self._private = private

    def hear(self, line: Line) -> None:
        """Read what a container has printed."""
        self.lines += 1
        for lease in leases_in(line.text.splitlines()):
            self._claimed(lease, line.container_id)
        self._found |= {what: line.function for what, text in self._private.items() if text in line.text}

    def problems(self) -> Iterable[Problem]:
        """What should not have been printed, once each; and silence, in which nothing can be found."""
        for what, function in self._found.items():
            yield Problem("leak", f"{what} is in the log of {function}")
        if not self.lines:
            yield Problem("leak", "nothing was printed: the search would find nothing")


def leases_in(lines: Iterable[str]) -> set[str]:
    """Those of the turns that were claimed, by lines of a log at level debug."""
    events = (_read(line) for line in lines if "turn_claimed" in line)
    return {event.lease for event in events if event.event == "turn_claimed"}


def _read(line: str) -> "_Event":
    """A line as an event; who is killed while he writes leaves half of one, which tells nothing."""
    try:
        return _event(line)
    except msgspec.DecodeError:
        return _Event()


class _Event(msgspec.Struct):
    event: str = ""
    lease: str = ""


_event = msgspec.json.Decoder(_Event).decode
