"""What a shard knows in memory of its chats' mailboxes: waiting turns in arrival order, and who works on them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from actors.ports import LeaseRecord, UpdateRecord

LEASE_S = 15.0
"""A lease lives this long after its renewal, judged by store time between containers."""


@dataclass(slots=True)
class Lease:
    """A lease in memory; `expires_at` in seconds of the monotonic clock."""

    id: str
    owner: str
    update_key: str
    attempt: int
    expires_at: float

    def record(self) -> LeaseRecord:
        """The lease as the store keeps it."""
        return LeaseRecord(lease=self.id, owner=self.owner, update_key=self.update_key, attempt=self.attempt)


@dataclass(slots=True)
class Mailbox:
    """One chat's open updates in arrival order, as far as this container knows.

    `waiting` is what the store last said. Where it differs from what is held here, another container wrote
    to the mailbox, and it has to be read again.
    """

    records: dict[str, UpdateRecord] = field(default_factory=dict)
    waiting: int = 0
    counted_at: int = 0
    lease: Lease | None = None
    suspect: bool = False
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

    def living_lease(self, now: float) -> Lease | None:
        """The lease, if its owner is taken to be alive."""
        return self.lease if self.lease is not None and now < self.lease.expires_at else None


class Mailboxes:
    """The mailboxes of a shard that are not empty; bounded, as what is dropped can be read again."""

    def __init__(self, *, max_chats: int = 20_000) -> None:
        self._boxes: dict[int, Mailbox] = {}
        self._gates: dict[int, _Gate] = {}
        self._max_chats = max_chats

    def __len__(self) -> int:
        """Count the chats with a mailbox in memory."""
        return len(self._boxes)

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

    def drop(self, chat: int) -> None:
        """Forget what is known of a mailbox, so that the next look reads the store; its lease is kept."""
        box = self._boxes.get(chat)
        if box is not None:
            box.suspect = True

    def load(
        self, chat: int, records: Iterable[UpdateRecord], lease: LeaseRecord | None, now: float
    ) -> Mailbox:
        """Take over what was read from the store; a lease held here is kept."""
        box = self.open(chat)
        box.records = {record.key: record for record in records}
        box.waiting, box.suspect = len(box.records), False
        if lease is not None and lease.update_key in box.records:
            box.attempts[lease.update_key] = max(lease.attempt, box.attempts.get(lease.update_key, 0))
            box.lease = box.lease or _foreign(lease, now)
        return box

    @asynccontextmanager
    async def locked(self, chat: int) -> AsyncIterator[None]:
        """Let one append or reading of the chat's mailbox run at a time, so that none sees half of another."""
        gate = self._gates.setdefault(chat, _Gate())
        gate.users += 1
        try:
            async with gate.lock:
                yield
        finally:
            gate.users -= 1
            if not gate.users:
                del self._gates[chat]

    def _make_room(self) -> None:
        if len(self._boxes) >= self._max_chats:
            idle = next((chat for chat, box in self._boxes.items() if box.lease is None), None)
            if idle is not None:
                del self._boxes[idle]


@dataclass(slots=True)
class _Gate:
    """A chat's lock, and how many hold it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


def _foreign(lease: LeaseRecord, now: float) -> Lease:
    left = max(0.0, LEASE_S - max(0.0, lease.age_s))
    return Lease(lease.lease, lease.owner, lease.update_key, lease.attempt, now + left)
