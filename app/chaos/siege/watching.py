"""Watches a siege while it goes on: how many containers each pool has, and which sends are under way after a fault."""

from collections import Counter
from collections.abc import Iterable, Mapping

from actors.stores import UpdateRecord
from app.chaos.siege.evidence import Problem, is_sending
from app.plane import ContainerInfo


class Limits:
    """No pool has more containers than its limit, but for those that were forced upon it."""

    def __init__(self, most: Mapping[str, int]) -> None:
        """`most` containers for one pool, by function; a function that is not named has no limit."""
        self._most = most
        self._forced: Counter[str] = Counter()
        self.most_seen: Counter[str] = Counter()
        self.problems: dict[str, Problem] = {}
        """By pool, the first of each."""

    def force(self, pool: str) -> None:
        """One more is started now, whatever the limit says."""
        self._forced[pool] += 1

    def look(self, containers: Iterable[ContainerInfo]) -> None:
        """Count all that there are; a forced one that has ended allows no other in its place."""
        pools = Counter((each.function, each.pool) for each in containers)
        for (function, pool), count in pools.items():
            self.most_seen[function] = max(self.most_seen[function], count)
            over = count - self._most.get(function, count)
            if over > self._forced[pool]:
                detail = f"{function} had {count} containers, {self._forced[pool]} of them forced upon it"
                self.problems.setdefault(pool, Problem("limit", detail))
            self._forced[pool] = max(0, min(over, self._forced[pool]))


class Sends:
    """The updates of which the store said, at and after a fault that ends an owner, that a chunk is on its way."""

    def __init__(self) -> None:
        self.updates: set[int] = set()
        self._until_s = 0.0

    def expect(self, until_s: float) -> None:
        """A fault struck: what it cuts is seen until then."""
        self._until_s = max(self._until_s, until_s)

    def expected(self, now_s: float) -> bool:
        """Whether a fault was lately."""
        return now_s < self._until_s

    def look(self, records: Iterable[UpdateRecord]) -> None:
        """Take down those that are being sent."""
        self.updates |= {record.update for record in records if is_sending(record)}
