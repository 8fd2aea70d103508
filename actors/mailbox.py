"""What a shard knows in memory of its chats' mailboxes: waiting turns in arrival order, and who works on them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from actors.gates import Gates
from actors.stores import LeaseRecord, UpdateRecord

LEASE_S = 15.0
"""A lease lives this long after its renewal, judged by store time between containers."""

MOST_WAIT_S = 86_400.0
"""No chat waits longer than a day, whatever it is told: then its turn is given up anyway (`UNSENT_MOST_S`)."""

UNSENT_LEASES = 4  # that of the stored turn, and those of the last claims, which may have been stored over it
ENDED_LEASES = 1_000  # a repeated request comes within seconds of the first


@dataclass(slots=True)
class Lease:
    """A lease in memory; `expires_at` in seconds of the monotonic clock.

    `ending` says that a write which ends the turn had no answer, so that it may have happened. `foreign`:
    it was given by another container, which may have ended or renewed it since.
    """

    id: str
    owner: str
    update_key: str
    attempt: int
    expires_at: float
    ending: bool = False
    foreign: bool = False

    def record(self, wait_s: float = 0.0) -> LeaseRecord:
        """The lease as the store keeps it, with how long nothing may be sent to its chat."""
        return LeaseRecord(
            lease=self.id, owner=self.owner, update_key=self.update_key, attempt=self.attempt, wait_s=wait_s
        )


@dataclass(slots=True)
class Mailbox:
    """One chat's open updates in arrival order, as far as this container knows.

    `waiting` is what the store last said. Where it differs from what is held here, another container wrote
    to the mailbox, and it has to be read again. `unsent` are leases under which surely nothing was sent: their
    claim failed, or their owner said so. `stored` is the lease in the store when the mailbox was last read. Before
    `not_before` (monotonic seconds) nothing may be sent to the chat; the store knows it, too, with the lease.
    `doubts` counts how often it was made suspect: only a reading that began after the last time clears it.
    """

    records: dict[str, UpdateRecord] = field(default_factory=dict)
    waiting: int = 0
    counted_at: int = 0
    lease: Lease | None = None
    stored: LeaseRecord | None = None
    unsent: tuple[str, ...] = ()
    suspect: bool = False
    doubts: int = 0
    attempts: dict[str, int] = field(default_factory=dict)
    not_before: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether all that waits is known here."""
        return not self.suspect and len(self.records) == self.waiting

    def head(self) -> UpdateRecord | None:
        """The update whose turn is next."""
        return next(iter(self.records.values()), None)

    def append(self, record: UpdateRecord, waiting: int) -> None:
        """Note an update that was appended in the store."""
        self.records[record.key] = record
        self.count(waiting, record.version)

    def replace(self, record: UpdateRecord) -> None:
        """Note a new version of an update, in its place."""
        self.records[record.key] = record

    def end(self, record: UpdateRecord, waiting: int) -> None:
        """Note that an update has ended."""
        self.records.pop(record.key, None)
        self.attempts.pop(record.key, None)
        self.lease = None
        self.count(waiting, record.version)

    def count(self, waiting: int, version: int) -> None:
        """Note the store's count of waiting updates, unless a later one is known."""
        if version > self.counted_at:
            self.waiting, self.counted_at = waiting, version

    def wait(self, seconds: float, now: float) -> None:
        """Have the chat wait so long from now on, unless it waits longer already."""
        self.not_before = max(self.not_before, now + min(max(seconds, 0.0), MOST_WAIT_S))

    def waits_s(self, now: float) -> float:
        """How long the chat has still to wait."""
        return max(0.0, self.not_before - now)

    def note_unsent(self, lease: str) -> None:
        """Note that surely nothing was sent under this lease."""
        self.unsent = (*(each for each in self.unsent if each != lease), lease)[-UNSENT_LEASES:]

    def living_lease(self, now: float) -> Lease | None:
        """The lease, if its owner is taken to be alive."""
        return self.lease if self.lease is not None and now < self.lease.expires_at else None

    def idle(self, now: float) -> bool:
        """Whether nobody works on what waits, and nobody was told to wait with it."""
        return bool(self.records) and self.living_lease(now) is None and self.not_before <= now

    def idle_head(self, now: float) -> UpdateRecord | None:
        """The update whose turn is next, if nobody works on it."""
        return self.head() if self.idle(now) else None


class Mailboxes:
    """The mailboxes of a shard that are not empty; bounded, as what is dropped can be read again."""

    def __init__(self, *, max_chats: int = 20_000) -> None:
        self._boxes: dict[int, Mailbox] = {}
        self.gates = Gates()
        self._ended: dict[str, str] = {}
        self._over: dict[str, None] = {}
        self._max_chats = max_chats

    def __len__(self) -> int:
        """Count the chats with a mailbox in memory."""
        return len(self._boxes)

    @property
    def waiting(self) -> int:
        """How many updates are known to wait, in all chats."""
        return sum(box.waiting for box in self._boxes.values())

    def get(self, chat: int) -> Mailbox | None:
        """The chat's mailbox, or None when nothing is known of it here."""
        return self._boxes.get(chat)

    def open(self, chat: int) -> Mailbox:
        """The chat's mailbox, made empty if there was none."""
        box = self._boxes.get(chat)
        if box is None:
            self._make_room()
            box = self._boxes[chat] = Mailbox()
        return box

    def close_if_empty(self, chat: int) -> None:
        """Drop a mailbox in which nothing waits."""
        box = self._boxes.get(chat)
        if box is not None and box.whole and not box.records:
            del self._boxes[chat]

    def doubt(self, chat: int) -> None:
        """Have the next look at a mailbox read the store; its lease is kept."""
        box = self._boxes.get(chat)
        if box is not None:
            box.suspect = True
            box.doubts += 1

    def doubts(self, chat: int) -> int:
        """How often the mailbox was doubted; to be asked before it is read, and given to `load` then."""
        box = self._boxes.get(chat)
        return box.doubts if box is not None else 0

    def end(self, box: Mailbox, record: UpdateRecord, waiting: int) -> None:
        """Note that an update has ended, and under which lease."""
        if box.lease is not None and box.lease.update_key == record.key:
            self._remember_end(box.lease)
        self._over[record.key] = None
        _bound(self._over)
        box.end(record, waiting)
        self.close_if_empty(record.chat)

    def is_doubted(self, chat: int) -> bool:
        """Whether the next look at the mailbox reads it from the store.

        A mailbox that is not whole is made suspect: an append meanwhile could make it look whole by its number.
        Of one that is not here nobody can say so while somebody is at its gate: it may be an append, which makes it.
        """
        box = self._boxes.get(chat)
        if box is None:
            return not self.gates.is_shut(chat)
        if not box.whole:
            self.doubt(chat)
        return box.suspect

    def is_over(self, update_key: str) -> bool:
        """Whether the update was ended here, not long ago."""
        return update_key in self._over

    def has_ended(self, lease: str, update_key: str) -> bool:
        """Whether the turn was ended under this lease, so that the request at hand is a repeated one."""
        return self._ended.get(lease) == update_key

    def load(
        self,
        chat: int,
        records: Iterable[UpdateRecord],
        lease: LeaseRecord | None,
        now: float,
        *,
        doubts: int,
    ) -> Mailbox:
        """Take over what was read from the store; a lease held here stays unless a living one is stored.

        `doubts` are those of before the reading: whoever has doubted since knows of something later.
        """
        box = self.open(chat)
        box.records = {record.key: record for record in records}
        box.waiting, box.suspect = len(box.records), box.doubts != doubts
        box.counted_at = max((box.counted_at, *(record.version for record in box.records.values())))
        box.attempts = {key: count for key, count in box.attempts.items() if key in box.records}
        self._settle_lease(box, lease, now)
        self.close_if_empty(chat)
        return box

    def _settle_lease(self, box: Mailbox, stored: LeaseRecord | None, now: float) -> None:
        if stored is not None and stored.update_key not in box.records:
            stored = None  # it was written late, after its turn had ended
        if stored is not None:
            box.wait(stored.wait_s, now)
            box.attempts[stored.update_key] = max(stored.attempt, box.attempts.get(stored.update_key, 0))
        if stored is not None and not stored.owner:
            stored = None  # handed back: nobody has its turn
        box.stored = stored
        if box.lease is not None and box.lease.update_key not in box.records:
            if box.lease.ending:
                self._remember_end(box.lease)
            box.lease = None
        if stored is None:
            return
        ours = box.living_lease(now)
        if ours is None or (ours.id != stored.lease and stored.age_s < LEASE_S):
            box.lease = foreign(stored, now)  # of two that two containers gave, the stored one counts

    def _remember_end(self, lease: Lease) -> None:
        self._ended[lease.id] = lease.update_key
        _bound(self._ended)

    def _make_room(self) -> None:
        if len(self._boxes) >= self._max_chats:
            idle = (chat for chat, box in self._boxes.items() if box.lease is None)
            del self._boxes[next(idle, next(iter(self._boxes)))]


def foreign(lease: LeaseRecord, now: float) -> Lease:
    """A lease as it was read from the store, with the life that store time leaves it."""
    left = max(0.0, LEASE_S - max(0.0, lease.age_s))
    return Lease(lease.lease, lease.owner, lease.update_key, lease.attempt, now + left, foreign=True)


def _bound(remembered: dict[str, Any]) -> None:
    if len(remembered) > ENDED_LEASES:
        del remembered[next(iter(remembered))]
