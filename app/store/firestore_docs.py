"""Records of the store port as Firestore documents, and back, one story for all collections.

`telegram_sessions/{chat}`    shard, updated_at, deleted, body, op, revision, expires_at (tombstones only)
`mailboxes/{chat}`            tickets (update keys in arrival order), waiting, revision (the session's),
                              leases {update key: {lease, owner, attempt, renewed_at}}
                              waits {update key: {wait_s, told_at}} (of a turn that waits as it was told to)
`updates/{bot}:{update}`      chat, shard, state, open, reason, body, erased, accepted_at, op,
                              ended_at and expires_at (once it has ended)
`op` names the write that a document is the result of, so that a repeated write is recognised.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, get_args

import msgspec

from actors.stores import LeaseRecord, SessionRecord, TurnWrite, UpdateRecord
from app.store.firestore_ids import chat_id, is_update_key, update_ids
from app.store.firestore_requests import Change, When
from app.store.firestore_values import (
    Fields,
    UnreadableDocument,
    kind_of,
    micros,
    read_bool,
    read_bytes,
    read_int,
    read_list,
    read_map,
    read_micros,
    read_number,
    read_text,
)
from contracts.turns import TurnState

SESSIONS: Final = "telegram_sessions"
MAILBOXES: Final = "mailboxes"
UPDATES: Final = "updates"

UPDATE_KEPT: Final = timedelta(days=7)
"""How long an ended update is kept: Telegram redelivers for a day, people look at failures for a week."""
TOMBSTONE_KEPT: Final = timedelta(days=30)
"""How long a forgotten session's tombstone is kept; a warm image older than that is set aside."""

_STATES: Final = frozenset(get_args(TurnState))


def session_path(chat: int) -> str:
    """Give the path of a chat's session."""
    return f"{SESSIONS}/{chat}"


def mailbox_path(chat: int) -> str:
    """Give the path of a chat's mailbox."""
    return f"{MAILBOXES}/{chat}"


def update_path(key: str) -> str:
    """Give the path of an update."""
    return f"{UPDATES}/{key}"


# ---------------------------------------------------------------- changes


def append_changes(record: UpdateRecord, operation: str, now: datetime) -> list[Change]:
    """The accepted update, and, if it is open, its ticket; the mailbox need not exist yet."""
    fields = _update_fields(record, operation, now) | {
        "chat": record.chat,
        "shard": record.shard,
    }
    times = ("accepted_at",) if record.open else ("accepted_at", "ended_at")
    update = Change(document=update_path(record.key), fields=fields, server_times=times, when=When.ABSENT)
    return [update, _enqueue(record)] if record.open else [update]


def turn_changes(write: TurnWrite, now: datetime) -> list[Change]:
    """A step of a turn: the mailbox (first, its count is read by position), the update, maybe the session."""
    record = write.update
    update = Change(
        document=update_path(record.key),
        fields=_update_fields(record, write.operation, now),
        server_times=() if record.open else ("ended_at",),
        when=record.version,
    )
    changes = [_mailbox_change(write), update]
    if write.session is not None:
        changes.append(session_change(write.session, write.operation, now))
    return changes


def _mailbox_change(write: TurnWrite) -> Change:
    """The mailbox's part of a step: the ticket, the lease, the session's revision."""
    record = write.update
    change = _count(record.chat) if record.open else _dequeue(record)
    fields: dict[str, Any] = {}
    times: tuple[str, ...] = ()
    if record.open and write.lease is not None:  # all of them, so that those of ended turns go
        fields["leases"], times = _leases(write.lease), _renewed(write.lease)
        if write.lease.wait_s > 0:
            fields["waits"] = _waits(write.lease)
    increments = dict(change.increments)
    if write.session is not None:
        fields["revision"] = revision_of(write.session, write.operation)
        del increments["revision"]
    return msgspec.structs.replace(change, fields=fields, server_times=times, increments=increments)


def session_change(session: SessionRecord, operation: str, now: datetime) -> Change:
    """The session at its next version; an empty body makes it a tombstone."""
    deleted = not session.body
    fields = {"shard": session.shard, "deleted": deleted, "body": session.body, "op": operation}
    fields["revision"] = revision_of(session, operation)
    return Change(
        document=session_path(session.chat),
        fields=fields | ({"expires_at": now + TOMBSTONE_KEPT} if deleted else {}),
        cleared=() if deleted else ("expires_at",),
        server_times=("updated_at",),
        when=at_version(session.version),
    )


def session_changes(session: SessionRecord, operation: str, now: datetime) -> list[Change]:
    """The session at its next version, and its revision in the mailbox, where appends tell it."""
    fields = {"revision": revision_of(session, operation)}
    told = Change(document=mailbox_path(session.chat), fields=fields)
    return [session_change(session, operation, now), told]


def revision_of(session: SessionRecord, operation: str) -> int:
    """A number of this write of the session: the same if it is repeated, another for any other write.

    The session and its mailbox carry it from one commit, so that the two can't drift apart.
    """
    name = f"{session.version}:{operation}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest()) >> 1 or 1  # 63 bits, and never 0


def lease_change(chat: int, lease: LeaseRecord | None) -> Change:
    """The lease renewed at store time, or given up."""
    if lease is None:
        return Change(document=mailbox_path(chat), cleared=("leases",))
    fields = {"leases": _leases(lease)} | ({"waits": _waits(lease)} if lease.wait_s > 0 else {})
    return Change(
        document=mailbox_path(chat),
        fields=fields,
        paths=tuple(f"{name}.`{lease.update_key}`" for name in fields),
        server_times=_renewed(lease),
    )


def _leases(lease: LeaseRecord) -> dict[str, Any]:
    """By its update's key: without reading any, the end of a turn takes its own along, and a late one harms none."""
    return {lease.update_key: {name: getattr(lease, name) for name in ("lease", "owner", "attempt")}}


def _waits(lease: LeaseRecord) -> dict[str, Any]:
    return {lease.update_key: {"wait_s": lease.wait_s}}


def _renewed(lease: LeaseRecord) -> tuple[str, ...]:
    told = (f"{_wait_path(lease.update_key)}.told_at",) if lease.wait_s > 0 else ()
    return (f"{_lease_path(lease.update_key)}.renewed_at", *told)


def _lease_path(update_key: str) -> str:
    return f"leases.`{update_key}`"


def _wait_path(update_key: str) -> str:
    return f"waits.`{update_key}`"


def at_version(version: int) -> When | int:
    """Version 0 means that the document must not exist."""
    return version or When.ABSENT


def _update_fields(record: UpdateRecord, operation: str, now: datetime) -> dict[str, Any]:
    fields = {
        "state": record.state,
        "open": record.open,
        "reason": record.reason,
        "body": record.body,
        "erased": not record.body,
        "op": operation,
    }
    # An open update never expires, however long it waits.
    return fields if record.open else fields | {"expires_at": now + UPDATE_KEPT}


def _enqueue(record: UpdateRecord) -> Change:
    return Change(
        document=mailbox_path(record.chat),
        increments={"waiting": 1, "revision": 0},
        added={"tickets": [record.key]},
    )


def _dequeue(record: UpdateRecord) -> Change:
    return Change(
        document=mailbox_path(record.chat),
        cleared=(_lease_path(record.key), _wait_path(record.key)),
        increments={"waiting": -1, "revision": 0},
        removed={"tickets": [record.key]},
    )


def _count(chat: int) -> Change:
    """Adding nothing gives the numbers in the same commit, without a read."""
    return Change(document=mailbox_path(chat), increments={"waiting": 0, "revision": 0})


# ---------------------------------------------------------------- reading


def read_session(path: str, document: Any) -> SessionRecord:
    """Give a session; a tombstone has an empty body. Raises UnreadableDocument."""
    fields: Fields = document.fields
    deleted = read_bool(fields, "deleted")
    return SessionRecord(
        chat=chat_id(path),
        shard=read_int(fields, "shard"),
        body=b"" if deleted else _some(read_bytes(fields, "body")),
        version=version_of(document),
        updated_at=read_micros(fields, "updated_at") / 1e6,
        revision=read_revision(document),
    )


def blank_session(path: str, document: Any) -> SessionRecord:
    """What stands for an unreadable session: nothing to use, and the version under which to replace it."""
    version, revision = version_of(document), read_revision(document)
    return SessionRecord(chat=chat_id(path), shard=0, version=version, revision=revision)


def read_shard(_: str, document: Any) -> int:
    """Read an update's shard; raises UnreadableDocument."""
    return read_int(document.fields, "shard")


def read_update(path: str, document: Any) -> UpdateRecord:
    """Give an update. Raises UnreadableDocument."""
    fields: Fields = document.fields
    bot, update = update_ids(path)
    return UpdateRecord(
        bot=bot,
        update=update,
        chat=read_int(fields, "chat"),
        shard=read_int(fields, "shard"),
        state=_state(read_text(fields, "state")),
        open=read_bool(fields, "open"),
        reason=read_text(fields, "reason") if "reason" in fields else "",
        body=read_bytes(fields, "body"),
        version=version_of(document),
        accepted_at=read_micros(fields, "accepted_at") / 1e6,
    )


def read_tickets(document: Any, tell: Callable[[str], None] = lambda _: None) -> tuple[str, ...]:
    """Give a mailbox's update keys in arrival order. Raises UnreadableDocument.

    What is none is told and left out: to ask for it may be refused, together with all that is asked for beside it.
    """
    tickets = read_list(document.fields, "tickets") if "tickets" in document.fields else ()
    keys = tuple(ticket.string_value for ticket in tickets if is_update_key(ticket.string_value))
    if len(keys) < len(tickets):
        tell(f"{len(tickets) - len(keys)} of its tickets are no update's")
    return keys


def read_lease(document: Any, read_at_us: int) -> LeaseRecord | None:
    """Give the lease that was renewed last of those of waiting turns, its times by store time. Raises as above."""
    waits = {key: -_age_s(each, "told_at", read_at_us) + read_number(each, "wait_s")
             for key, each in _of_waiting(document, "waits").items()}  # fmt: skip
    leases = _of_waiting(document, "leases")
    if not leases:
        key = next(iter(waits), "")
        return (
            LeaseRecord(lease="", owner="", update_key=key, attempt=0, wait_s=waits[key]) if waits else None
        )
    key, fields = max(leases.items(), key=lambda item: read_micros(item[1], "renewed_at"))
    return LeaseRecord(
        lease=read_text(fields, "lease"),
        owner=read_text(fields, "owner"),
        update_key=key,
        attempt=read_int(fields, "attempt"),
        age_s=max(_age_s(fields, "renewed_at", read_at_us), 0.0),
        wait_s=waits.get(key, 0.0),
    )


def _of_waiting(document: Any, name: str) -> dict[str, Fields]:
    found = read_map(document.fields, name) if name in document.fields else {}
    return {key: read_map(found, key) for key in read_tickets(document) if key in found}


def _age_s(fields: Fields, name: str, read_at_us: int) -> float:
    return (read_at_us - read_micros(fields, name)) / 1e6


def read_waiting(document: Any | None) -> int:
    """Give a mailbox's count as far as it has one; it only informs."""
    if document is None or kind_of(document.fields, "waiting") != "integer_value":
        return 0
    return max(read_int(document.fields, "waiting"), 0)


def read_revision(document: Any | None) -> int:
    """Give the revision of a session or mailbox; one that names none was never written with one."""
    if document is None or kind_of(document.fields, "revision") != "integer_value":
        return 0
    return read_int(document.fields, "revision")


def has_operation(document: Any | None, operation: str) -> bool:
    """Whether a document is the result of this write."""
    if document is None or kind_of(document.fields, "op") != "string_value":
        return False
    return read_text(document.fields, "op") == operation


def version_of(document: Any | None) -> int:
    """Give a document's version (update time in microseconds); 0 when it is absent."""
    return micros(document.update_time) if document is not None else 0


def utc(unix_s: float) -> datetime:
    """Give a Unix time as what `to_value` takes."""
    return datetime.fromtimestamp(unix_s, UTC)


def _state(text: str) -> TurnState:
    if text not in _STATES:
        raise UnreadableDocument("state is unknown")
    return text  # type: ignore[return-value]  # checked against the literal's own members


def _some(body: bytes) -> bytes:
    if not body:
        raise UnreadableDocument("body is empty")
    return body
