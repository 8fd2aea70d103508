"""Made-up ids in the form that Modal's client recognises: a kind, a dash, 22 letters or digits."""

import itertools
from typing import Final

DIGITS: Final = 22  # `modal app stop ap-...` takes it for an id, and not a name, at exactly this length


class Ids:
    """Counts up, over all kinds."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def make(self, kind: str) -> str:
        """A new id, such as `ap-0000000000000000000001`."""
        return f"{kind}-{next(self._numbers):0{DIGITS}d}"
