"""The database of a simulation: it tells the ledger what each write did, at the moment it took effect."""

from collections.abc import Callable

from actors.stores import Appended, LeaseRecord, SessionRecord, TurnWrite, TurnWritten, UpdateRecord
from actors.warm_ports import StoredImage
from app.chaos.ledger import Ledger
from app.chaos.memory_database import MemoryDatabase
from app.chaos.trace import Trace


class WatchedDatabase(MemoryDatabase):
    """A MemoryDatabase whose writes are known to the ledger and to the trace."""

    def __init__(self, now: Callable[[], float], ledger: Ledger, trace: Trace) -> None:
        super().__init__(now)
        self._ledger, self._trace = ledger, trace

    def append(self, record: UpdateRecord) -> Appended:
        """Create the update."""
        appended = super().append(record)
        self._trace.note("append", record.key, record.state, appended.created, appended.waiting)
        if appended.created:
            self._ledger.appended(record, appended.waiting)
        return appended

    def write_turn(self, write: TurnWrite) -> TurnWritten:
        """Write a step of a turn."""
        newest, stored = self.tables.newest, self.tables.updates.get((write.update.bot, write.update.update))
        head = next(iter(self.mailbox(write.update.chat)), None)
        written = super().write_turn(write)
        if stored is not None and self.tables.newest > newest:
            self._trace.note("turn", write.update.key, write.update.state, write.operation)
            self._ledger.wrote_turn(stored.record, head, write)
            if write.session is not None:
                self._ledger.wrote_session(write.session, written.session_version)
        return written

    def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write a session."""
        newest = self.tables.newest
        version = super().write_session(session, operation)
        if self.tables.newest > newest:
            self._trace.note("session", session.chat, version)
            self._ledger.wrote_session(session, version)
        return version

    def write_image(self, name: str, image: StoredImage) -> int:
        """Write a warm image."""
        version = super().write_image(name, image)
        self._trace.note("image", name, version, len(image.blobs))
        return version

    def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """Write a lease: whoever has one is at work."""
        super().write_lease(chat, lease)
        if lease is not None and lease.owner:
            self._ledger.step(chat)
        if lease is not None and lease.wait_s:
            self._ledger.kept(chat)
