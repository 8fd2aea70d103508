"""What a session store in memory holds, whatever connects to it."""

import asyncio
from collections import Counter, defaultdict

import msgspec

from actors.stores import LeaseRecord, SessionRecord, UpdateRecord
from actors.warm_ports import StoredImage
from contracts.skills import SetAside
from contracts.turns import TurnState


class MemoryDatabase:
    """What is stored: one counter gives every version, and time is the loop's."""

    def __init__(self) -> None:
        self.updates: dict[str, UpdateRecord] = {}
        self.sessions: dict[int, SessionRecord] = {}
        self.leases: dict[int, tuple[LeaseRecord, float]] = {}
        self.waits: dict[str, float] = {}
        self.operations: dict[str, str] = {}
        self.poison: dict[int, SetAside] = {}
        self.images: dict[str, StoredImage] = {}
        self.ends: Counter[str] = Counter()
        self.written: dict[int, list[SessionRecord]] = defaultdict(list)
        self._version = 0

    def newest(self) -> int:
        """The mark of the newest write."""
        return self._version

    def next_version(self) -> int:
        self._version += 1
        return self._version

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def open_of(self, chat: int) -> list[UpdateRecord]:
        return [record for record in self.updates.values() if record.open and record.chat == chat]

    def states(self) -> dict[str, TurnState]:
        """The state of each update."""
        return {key: record.state for key, record in self.updates.items()}

    def put_update(self, record: UpdateRecord, operation: str, version: int) -> None:
        self.updates[record.key] = msgspec.structs.replace(record, version=version)
        self.operations[record.key] = operation
        if not record.open:
            self.ends[record.key] += 1
        lease = self.leases.get(record.chat)
        if not record.open and lease is not None and lease[0].update_key == record.key:
            del self.leases[record.chat]

    def put_session(self, record: SessionRecord, operation: str, version: int) -> None:
        new = msgspec.structs.replace(record, version=version, updated_at=self.now(), revision=version)
        self.sessions[record.chat] = new
        self.operations[f"session {record.chat}"] = operation
        self.written[record.chat].append(self.sessions[record.chat])

    def put_lease(self, chat: int, lease: LeaseRecord) -> None:
        """Renew the lease; a wait is kept until when, beside it."""
        self.leases[chat] = lease, self.now()
        if lease.wait_s:
            self.waits[lease.update_key] = self.now() + lease.wait_s

    def lease_of(self, chat: int) -> LeaseRecord | None:
        """The chat's lease or, where only a wait is left, nobody's."""
        open_ones = self.open_of(chat)
        key = open_ones[0].key if open_ones else ""
        left_s = self.waits[key] - self.now() if key in self.waits else 0.0
        if chat not in self.leases:
            return (
                LeaseRecord(lease="", owner="", update_key=key, attempt=0, wait_s=left_s) if left_s else None
            )
        lease, renewed_at = self.leases[chat]
        wait_s = left_s if lease.update_key == key else 0.0
        return msgspec.structs.replace(lease, age_s=self.now() - renewed_at, wait_s=wait_s)

    def session_version(self, chat: int) -> int:
        return self.sessions[chat].version if chat in self.sessions else 0
