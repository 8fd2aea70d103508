"""Watches a siege while it goes on: how many containers each pool has, and which sends are under way after a fault."""

from collections import Counter
from collections.abc import Iterable, Mapping

from actors import turns
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
    """The updates that were being sent when a fault cut their sender: an agent that died, or any without its shard."""

    def __init__(self) -> None:
        self._claims: dict[str, str] = {}
        self._dead: set[str] = set()
        self._seen: set[tuple[int, str]] = set()
        self._cut: set[int] = set()
        self._until_s = self._cut_off_until_s = 0.0

    @property
    def updates(self) -> set[int]:
        """Those of the dead by what they have told their logs, which may be read later than the store."""
        of_the_dead = {update for update, lease in self._seen if self._claims.get(lease) in self._dead}
        return self._cut | of_the_dead

    def claimed(self, lease: str, container: str) -> None:
        """A container works under this lease."""
        self._claims[lease] = container

    def died(self, container: str, until_s: float) -> None:
        """An agent ends; what it was sending is seen until then, and what others send has no excuse."""
        self._dead.add(container)
        self._until_s = max(self._until_s, until_s)

    def cut_off(self, until_s: float) -> None:
        """The owners of sessions end: until then an agent may live and be unable to write what it has sent."""
        self._cut_off_until_s = max(self._cut_off_until_s, until_s)

    def expected(self, now_s: float) -> bool:
        """Whether a fault was lately."""
        return now_s < max(self._until_s, self._cut_off_until_s)

    def look(self, records: Iterable[UpdateRecord], now_s: float) -> None:
        """Take down what is being sent."""
        sending = {record.update: turns.unpack(record).lease for record in records if is_sending(record)}
        self._seen |= set(sending.items())
        if now_s < self._cut_off_until_s:
            self._cut |= set(sending)
