"""The store of a simulation, in memory: the ledger hears what each write did, at the moment it took effect."""

import random
from collections.abc import Callable

from actors.stores import (
    Appended,
    LeaseRecord,
    SessionRecord,
    SessionStore,
    SkillStatsStore,
    StoreMeter,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
)
from actors.warm_ports import StoredImage, WarmStore
from app.chaos.container import Container
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger
from app.chaos.memory_database import MemoryDatabase
from app.chaos.memory_store import MemorySessionStore, MemorySkillStatsStore, MemoryWarmStore
from app.chaos.store_port import StoreLine
from app.chaos.trace import Trace


class Witness:
    """Tells the ledger and the trace of writes."""

    def __init__(self, ledger: Ledger, trace: Trace) -> None:
        self._ledger, self._trace = ledger, trace

    def appended(self, record: UpdateRecord, appended: Appended) -> None:
        """An update was created, or was there before."""
        self._trace.note("append", record.key, record.state, appended.created, appended.waiting)
        if appended.created:
            self._ledger.appended(record, appended.waiting)

    def wrote_turn(
        self, before: UpdateRecord, head: UpdateRecord | None, write: TurnWrite, session_version: int
    ) -> None:
        """A step of a turn was written, and not written again; `head` was the chat's oldest open update."""
        self._trace.note("turn", write.update.key, write.update.state, write.operation)
        self._ledger.wrote_turn(before, head, write)
        if write.session is not None:
            self._ledger.wrote_session(write.session, session_version)

    def wrote_session(self, session: SessionRecord, version: int) -> None:
        """A session was written without a turn."""
        self._trace.note("session", session.chat, version)
        self._ledger.wrote_session(session, version)

    def wrote_image(self, name: str, image: StoredImage, version: int) -> None:
        """A warm image was written."""
        self._trace.note("image", name, version, len(image.blobs))

    def wrote_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """A lease was written: whoever has one is at work."""
        if lease is not None and lease.owner:
            self._ledger.step(chat)
        if lease is not None and lease.wait_s:
            self._ledger.kept(chat)


class WatchedDatabase(MemoryDatabase):
    """A MemoryDatabase whose writes have a witness; the WorldStore in memory."""

    shares_commits = False

    def __init__(self, now: Callable[[], float], witness: Witness) -> None:
        super().__init__(now)
        self._witness = witness

    def line(self, faults: Faults, ledger: Ledger, dice: random.Random) -> StoreLine:
        """The way to it: calls fail as a whole."""
        return StoreLine(self, faults, ledger, dice)

    def sessions(self, container: Container, meter: StoreMeter) -> SessionStore:
        """The adapter of a shard's owner."""
        del container  # it needs no connection
        return MemorySessionStore(self, meter)

    def warm(self, container: Container, meter: StoreMeter) -> WarmStore:
        """The adapter with which it starts warm."""
        del container  # it needs no connection
        return MemoryWarmStore(self, meter)

    def skills(self, container: Container, meter: StoreMeter) -> SkillStatsStore:
        """The adapter of a registry."""
        del container  # it needs no connection
        return MemorySkillStatsStore(self, meter)

    def waiting(self) -> list[int]:
        """The chats with open updates."""
        return list(self.tables.mailboxes)

    def head(self, chat: int) -> UpdateRecord:
        """The oldest open update of a chat that has one."""
        return self.mailbox(chat)[0]

    def session(self, chat: int) -> SessionRecord | None:
        """What is stored of the chat."""
        stored = self.tables.sessions.get(chat)
        return stored.record if stored is not None else None

    def close(self) -> None:
        """There is nothing to leave behind."""

    # ------------------------------------------------------------ watched writes

    def append(self, record: UpdateRecord) -> Appended:
        """Create the update."""
        appended = super().append(record)
        self._witness.appended(record, appended)
        return appended

    def write_turn(self, write: TurnWrite) -> TurnWritten:
        """Write a step of a turn."""
        newest, stored = self.tables.newest, self.tables.updates.get((write.update.bot, write.update.update))
        head = next(iter(self.mailbox(write.update.chat)), None)
        written = super().write_turn(write)
        if stored is not None and self.tables.newest > newest:
            self._witness.wrote_turn(stored.record, head, write, written.session_version)
        return written

    def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write a session."""
        newest = self.tables.newest
        version = super().write_session(session, operation)
        if self.tables.newest > newest:
            self._witness.wrote_session(session, version)
        return version

    def write_image(self, name: str, image: StoredImage) -> int:
        """Write a warm image."""
        version = super().write_image(name, image)
        self._witness.wrote_image(name, image, version)
        return version

    def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """Write a lease."""
        super().write_lease(chat, lease)
        self._witness.wrote_lease(chat, lease)
