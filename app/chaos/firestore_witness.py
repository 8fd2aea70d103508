"""Reads from what a commit did to the documents what the witness of a simulation wants to hear."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from actors.stores import Appended, LeaseRecord, SessionRecord, TurnWrite, UpdateRecord
from actors.warm_ports import StoredImage
from app.chaos.firestore_model import Written
from app.chaos.watched_store import Witness
from app.store.firestore_docs import (
    MAILBOXES,
    SESSIONS,
    UPDATES,
    read_session,
    read_update,
    read_waiting,
    version_of,
)
from app.store.firestore_ids import chat_id
from app.store.firestore_values import micros, read_bytes, read_int, read_map, read_number, read_text
from app.store.firestore_warm import IMAGES

Seen = dict[str, tuple[str, Written]]
"""What a commit wrote, by collection (each has one document of it at most), with its path."""


class CommitWitness:
    """A Listener of the model. It asks the adapter nothing: what is stored speaks for itself.

    `open` holds the open updates of each chat in the order of their creation.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self.open: dict[int, dict[str, UpdateRecord]] = {}

    def __call__(self, written: Sequence[Written]) -> None:
        """Tell of a commit."""
        seen = _by_collection(written)
        self._tell_lease(seen)
        update, session = seen.get(UPDATES), seen.get(SESSIONS)
        if update is not None and update[1].before is None:
            self._tell_append(*update, seen)
        elif update is not None and "state" in update[1].write.update.fields:  # else its body was erased
            self._tell_turn(*update, session)
        elif session is not None:
            self._witness.wrote_session(_over(*session), version_of(session[1].after))
        self._tell_image(seen)

    def _tell_append(self, path: str, written: Written, seen: Seen) -> None:
        record = read_update(path, written.after)
        if record.open:
            self.open.setdefault(record.chat, {})[record.key] = record
        waiting = read_waiting(seen[MAILBOXES][1].after) if MAILBOXES in seen else 0
        self._witness.appended(record, Appended(created=True, version=record.version, waiting=waiting))

    def _tell_turn(self, path: str, written: Written, session: tuple[str, Written] | None) -> None:
        before, after = read_update(path, written.before), read_update(path, written.after)
        head = next(iter(self.open.get(after.chat, {}).values()), None)
        self._keep(after)
        write = TurnWrite(
            operation=read_text(written.after.fields, "op"),
            update=after,
            session=_over(*session) if session is not None else None,
        )
        version = version_of(session[1].after) if session is not None else 0
        self._witness.wrote_turn(before, head, write, version)

    def _keep(self, record: UpdateRecord) -> None:
        waiting = self.open.get(record.chat, {})
        if record.open:
            waiting[record.key] = record
            return
        waiting.pop(record.key, None)
        if not waiting:
            self.open.pop(record.chat, None)

    def _tell_lease(self, seen: Seen) -> None:
        path, written = seen.get(MAILBOXES, ("", None))
        if written is None or "leases" not in written.write.update.fields:
            return
        fields = written.write.update.fields
        waits = read_map(fields, "waits") if "waits" in fields else {}
        for key, lease in _maps(read_map(fields, "leases")).items():
            wait_s = read_number(read_map(waits, key), "wait_s") if key in waits else 0.0
            record = LeaseRecord(
                lease=read_text(lease, "lease"),
                owner=read_text(lease, "owner"),
                update_key=key,
                attempt=read_int(lease, "attempt"),
                wait_s=wait_s,
            )
            self._witness.wrote_lease(chat_id(path), record)

    def _tell_image(self, seen: Seen) -> None:
        path, written = seen.get(IMAGES, ("", None))
        if written is None or written.after is None:
            return
        manifest = read_bytes(written.after.fields, "manifest")
        blobs = (b"",) * read_int(written.after.fields, "blobs")  # of which a trace tells the number
        image = StoredImage(manifest=manifest, blobs=blobs, version=_version_asked(written))
        self._witness.wrote_image(path.partition("/")[2], image, version_of(written.after))


_BLOB_COLONS: Final = 2  # in the id of an image's blob: `{actor}:{shard}:{slot}`


def path_of(name: str) -> str:
    """The path of a document below the root."""
    return name.partition("/documents/")[2]


def _by_collection(written: Sequence[Written]) -> Seen:
    paths = ((path_of(each.write.delete or each.write.update.name), each) for each in written)
    return {path.partition("/")[0]: (path, each) for path, each in paths if path.count(":") < _BLOB_COLONS}


def _over(path: str, written: Written) -> SessionRecord:
    """The session with the version that its writer had read."""
    return msgspec.structs.replace(read_session(path, written.after), version=_version_asked(written))


def _version_asked(written: Written) -> int:
    """What the write required of its document; 0 for its absence, and for nothing at all."""
    return micros(written.write.current_document.update_time)


def _maps(fields: Any) -> dict[str, Any]:
    return {key: read_map(fields, key) for key in fields}
