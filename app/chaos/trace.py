"""What happened, in order: hashed, so that a replay can be compared, and written down if somebody wants it."""

import hashlib
from collections.abc import Callable
from typing import TextIO

import msgspec


class Trace:
    """A running hash over all events; `file` gets each as a line of JSON."""

    def __init__(self, now: Callable[[], float], file: TextIO | None = None) -> None:
        self._now, self._file = now, file
        self._hash = hashlib.blake2b(digest_size=16)
        self.events = 0

    def note(self, event: str, *details: object) -> None:
        """Take an event down; details are numbers and short strings."""
        at = self._now()
        self._hash.update(f"{at:.6f} {event} {details}\n".encode())
        self.events += 1
        if self._file is not None:
            line = {"at_s": round(at, 6), "event": event, "details": details}
            self._file.write(msgspec.json.encode(line).decode() + "\n")

    @property
    def digest(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()
