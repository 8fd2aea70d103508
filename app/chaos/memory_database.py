"""All documents of a simulation, with the semantics of the store ports; they outlive the containers that use them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import msgspec

from actors.stores import (
    Appended,
    ChatState,
    LeaseRecord,
    SessionBatch,
    SessionRecord,
    SkillRun,
    StatsBatch,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
    VersionConflict,
)
from actors.warm_ports import SessionChanges, StoredImage
from contracts.skills import SkillStats
from contracts.turns import TurnState

KEEP_S: Final = 7 * 86400.0
"""How long ended updates, tombstones and run ids are kept."""

UpdateKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """A document and the operation that wrote it last; `expires_at` in store time, infinite for what stays."""

    operation: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class StoredUpdate(Stored):
    """An update's document."""

    record: UpdateRecord


@dataclass(frozen=True, slots=True)
class StoredSession(Stored):
    """A session's document."""

    record: SessionRecord


class StoredLease(NamedTuple):
    """A chat's lease, when it was renewed, and when its wait was told; in store time."""

    record: LeaseRecord
    renewed_at: float
    told_at: float


class KeptImage(NamedTuple):
    """A warm image, and over which version it was written."""

    image: StoredImage
    over: int


@dataclass(slots=True)
class Tables:
    """All documents. Mailboxes are the open updates of a chat in the order of their insertion."""

    newest: int = 0
    updates: dict[UpdateKey, StoredUpdate] = field(default_factory=dict)
    mailboxes: dict[int, dict[UpdateKey, None]] = field(default_factory=dict)
    sessions: dict[int, StoredSession] = field(default_factory=dict)
    leases: dict[int, StoredLease] = field(default_factory=dict)
    skills: dict[str, SkillStats] = field(default_factory=dict)
    runs: dict[tuple[str, str], float] = field(default_factory=dict)
    images: dict[str, KeptImage] = field(default_factory=dict)


class MemoryDatabase:
    """The data, and every call of the ports as one indivisible step; `now` gives store time in Unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.tables = Tables()
        self._now = now

    # ------------------------------------------------------------ reads

    def read_chat(self, chat: int) -> ChatState:
        """Session, open updates in arrival order, lease."""
        session, lease = self.tables.sessions.get(chat), self.tables.leases.get(chat)
        return ChatState(
            session=session.record if session is not None else None,
            open_updates=tuple(self.mailbox(chat)),
            lease=lease and self._read_lease(lease),
        )

    def _read_lease(self, lease: StoredLease) -> LeaseRecord:
        now, wait_s = self._now(), lease.record.wait_s
        left_s = wait_s - abs(now - lease.told_at) if wait_s else 0.0
        return msgspec.structs.replace(lease.record, age_s=abs(now - lease.renewed_at), wait_s=left_s)

    def mailbox(self, chat: int) -> list[UpdateRecord]:
        """The chat's open updates in arrival order."""
        return [self.tables.updates[key].record for key in self.tables.mailboxes.get(chat, ())]

    def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        """Those that are there, tombstones included, newest first."""
        found = (self.tables.sessions[chat].record for chat in set(chats) if chat in self.tables.sessions)
        return SessionBatch(sessions=_newest_first(found))

    def recent_sessions(self, shard: int, limit: int) -> SessionBatch:
        """The shard's, without tombstones."""
        stored = (each.record for each in self.tables.sessions.values())
        found = (record for record in stored if record.shard == shard and record.body)
        return SessionBatch(sessions=_newest_first(found)[:limit])

    def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        """The shard's, tombstones included; marks are versions."""
        stored = (each.record for each in self.tables.sessions.values())
        found = _newest_first(record for record in stored if record.shard == shard and record.version > since)
        listed = found[:limit]
        reaches = listed[-1].version if len(listed) >= limit else since
        return SessionChanges(sessions=listed, reaches=reaches, watermark=self.tables.newest)

    def read_image(self, name: str) -> StoredImage | None:
        """The warm image of that name."""
        kept = self.tables.images.get(name)
        return kept.image if kept is not None else None

    def open_updates(self, shard: int, limit: int, after: UpdateRecord | None) -> list[UpdateRecord]:
        """The shard's updates without an end, oldest first."""
        found = (record for record in self.open_ones() if record.shard == shard)
        behind = (record for record in found if after is None or _age(record) > _age(after))
        return sorted(behind, key=_age)[:limit]

    def open_ones(self) -> Iterator[UpdateRecord]:
        """The updates without an end, chat by chat."""
        return (self.tables.updates[key].record for box in self.tables.mailboxes.values() for key in box)

    def find_updates(self, states: Sequence[TurnState], limit: int) -> list[UpdateRecord]:
        """Updates in these states; the table is in the order of arrival."""
        stored = (each.record for each in self.tables.updates.values())
        return [record for record in stored if record.state in states][:limit]

    def read_stats(self, skills: Sequence[str]) -> StatsBatch:
        """Statistics by name."""
        known = self.tables.skills
        return StatsBatch(stats={name: known[name] for name in skills if name in known})

    # ------------------------------------------------------------ writes

    def append(self, record: UpdateRecord) -> Appended:
        """Create the update; an open one joins its chat's mailbox."""
        key = (record.bot, record.update)
        if key in self.tables.updates:
            return Appended(created=False)
        version = self._next()
        new = msgspec.structs.replace(record, version=version, accepted_at=self._now())
        self.tables.updates[key] = StoredUpdate("", self._expiry(keep=record.open), new)
        if not record.open:
            return Appended(created=True, version=version)
        box = self.tables.mailboxes.setdefault(record.chat, {})
        box[key] = None
        revision = self._revision(record.chat)
        return Appended(created=True, version=version, waiting=len(box), revision=revision)

    def write_turn(self, write: TurnWrite) -> TurnWritten:
        """Write update and session if both are at their versions; a repeated operation changes nothing."""
        stored = self.tables.updates.get((write.update.bot, write.update.update))
        if stored is None:
            raise VersionConflict("update")
        repeated = stored.operation == write.operation
        if not repeated:
            self._check(stored, write)
            self._apply(stored.record, write)
        return self._written(write, repeated=repeated)

    def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write the session if it is at its version; a repeated operation changes nothing."""
        stored = self.tables.sessions.get(session.chat)
        if stored is not None and stored.operation == operation:
            return stored.record.version
        self._check_session(session)
        return self._put_session(session, operation, self._next())

    def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        """Renew the chat's lease now, or drop it; one of an update that has ended comes too late."""
        before = self.tables.leases.get(chat)
        if lease is None:
            if before is None or not before.record.wait_s:
                self.tables.leases.pop(chat, None)
                return
            lease = msgspec.structs.replace(before.record, owner="", attempt=0, wait_s=0.0)
        if any(record.key == lease.update_key for record in self.mailbox(chat)):
            self.tables.leases[chat] = _renewed(before, lease, self._now())

    def write_image(self, name: str, image: StoredImage) -> int:
        """Write the image if it is at its version; the same one repeated changes nothing."""
        stored, over = self.tables.images.get(name, KeptImage(StoredImage(manifest=b""), 0))
        if stored.version and msgspec.structs.replace(stored, version=over) == image:
            return stored.version
        if stored.version != image.version:
            raise VersionConflict("image")
        new = msgspec.structs.replace(image, version=self._next())
        self.tables.images[name] = KeptImage(new, over=image.version)
        return new.version

    def erase_updates(self, chat: int) -> int:
        """Empty the bodies of the chat's ended updates."""
        ended = [
            (key, each)
            for key, each in self.tables.updates.items()
            if each.record.chat == chat and not each.record.open and each.record.body
        ]
        version = self._next()
        for key, each in ended:
            record = msgspec.structs.replace(each.record, body=b"", version=version)
            self.tables.updates[key] = replace(each, record=record)
        return len(ended)

    def purge(self, limit: int) -> int:
        """Drop what is past its expiry."""
        now = self._now()
        updates = [key for key, each in self.tables.updates.items() if each.expires_at <= now][:limit]
        sessions = [chat for chat, each in self.tables.sessions.items() if each.expires_at <= now][:limit]
        runs = [run for run, expires_at in self.tables.runs.items() if expires_at <= now][:limit]
        for key in updates:
            del self.tables.updates[key]
        for chat in sessions:
            del self.tables.sessions[chat]
        for run in runs:
            del self.tables.runs[run]
        return len(updates) + len(sessions) + len(runs)

    def record_run(self, run: SkillRun) -> bool:
        """Count the run, unless it was counted before."""
        if (run.skill, run.run) in self.tables.runs:
            return False
        self.tables.runs[run.skill, run.run] = self._now() + KEEP_S
        before = self.tables.skills.get(run.skill, SkillStats())
        runs, total_ms = before.run_count + 1, before.total_duration_ms + run.duration_ms
        succeeded = before.success_count + run.succeeded
        self.tables.skills[run.skill] = SkillStats(
            run_count=runs,
            success_count=succeeded,
            total_duration_ms=total_ms,
            last_run_at=max(before.last_run_at, self._now()),
            success_rate=succeeded / runs,
            mean_duration_ms=total_ms / runs,
        )
        return True

    # ------------------------------------------------------------ helpers

    def _check(self, stored: StoredUpdate, write: TurnWrite) -> None:
        if stored.record.version != write.update.version:
            raise VersionConflict("update")
        if write.session is not None:
            self._check_session(write.session)

    def _check_session(self, session: SessionRecord) -> None:
        stored = self.tables.sessions.get(session.chat)
        if session.version != (stored.record.version if stored is not None else 0):
            raise VersionConflict("session")

    def _apply(self, before: UpdateRecord, write: TurnWrite) -> None:
        version, update = self._next(), write.update
        key = (update.bot, update.update)
        new = msgspec.structs.replace(
            before,
            state=update.state,
            open=update.open,
            reason=update.reason,
            body=update.body,
            version=version,
        )
        self.tables.updates[key] = StoredUpdate(write.operation, self._expiry(keep=update.open), new)
        if not update.open:
            self._leave_mailbox(new)
        elif write.lease is not None:
            self.write_lease(update.chat, write.lease)
        if write.session is not None:
            self._put_session(write.session, write.operation, version)

    def _leave_mailbox(self, update: UpdateRecord) -> None:
        """An update that has ended takes its lease along."""
        box = self.tables.mailboxes.get(update.chat, {})
        box.pop((update.bot, update.update), None)
        if not box:
            self.tables.mailboxes.pop(update.chat, None)
        lease = self.tables.leases.get(update.chat)
        if lease is not None and lease.record.update_key == update.key:
            del self.tables.leases[update.chat]

    def _written(self, write: TurnWrite, *, repeated: bool) -> TurnWritten:
        update = self.tables.updates[write.update.bot, write.update.update]
        session_version = self._session_version(write)
        return TurnWritten(
            update_version=update.record.version,
            session_version=session_version,
            waiting=len(self.tables.mailboxes.get(write.update.chat, ())),
            revision=session_version if write.session is not None else self._revision(write.update.chat),
            repeated=repeated,
        )

    def _session_version(self, write: TurnWrite) -> int:
        """That of this write; once the session was written again, the one before it."""
        if write.session is None:
            return 0
        stored = self.tables.sessions.get(write.session.chat)
        is_ours = stored is not None and stored.operation == write.operation
        return self._revision(write.session.chat) if is_ours else write.session.version

    def _put_session(self, session: SessionRecord, operation: str, version: int) -> int:
        new = msgspec.structs.replace(session, version=version, updated_at=self._now(), revision=version)
        expires_at = self._expiry(keep=bool(session.body))
        self.tables.sessions[session.chat] = StoredSession(operation, expires_at, new)
        return version

    def _revision(self, chat: int) -> int:
        session = self.tables.sessions.get(chat)
        return session.record.version if session is not None else 0

    def _expiry(self, *, keep: bool) -> float:
        return float("inf") if keep else self._now() + KEEP_S

    def _next(self) -> int:
        self.tables.newest += 1
        return self.tables.newest


def _renewed(before: StoredLease | None, lease: LeaseRecord, now: float) -> StoredLease:
    if before is None or lease.wait_s or before.record.update_key != lease.update_key:
        return StoredLease(lease, now, now)  # else the wait of the same turn is left alone
    return StoredLease(msgspec.structs.replace(lease, wait_s=before.record.wait_s), now, before.told_at)


def _age(record: UpdateRecord) -> tuple[float, str]:
    return record.accepted_at, record.key


def _newest_first(records: Iterable[SessionRecord]) -> tuple[SessionRecord, ...]:
    return tuple(sorted(records, key=lambda record: record.version, reverse=True))
