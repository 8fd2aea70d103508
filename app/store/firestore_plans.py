"""The queries of the session store: each with the index that serves it, and the way to do without."""

from collections.abc import Sequence
from typing import Any

import msgspec

from actors.stores import SessionRecord, Stray, UpdateRecord
from app.store.firestore_docs import SESSIONS, UPDATES, read_session, read_update, update_path, utc
from app.store.firestore_ids import update_ids
from app.store.firestore_requests import Search
from app.store.firestore_search import Plan
from app.store.firestore_values import read_int
from contracts.turns import TurnState


def recent_plan(shard: int, limit: int) -> Plan[SessionRecord]:
    """A shard's sessions, newest first; without index, the newest of all shards (`updated_at` has its own)."""
    newest = Search(collection=SESSIONS, limit=limit, order="updated_at", descending=True)
    return Plan(
        search=msgspec.structs.replace(newest, equal={"shard": shard, "deleted": False}),
        plain=newest,
        read=read_session,
        keep=lambda record: record.shard == shard and bool(record.body),
        rank=lambda record: -record.updated_at,
    )


def changed_plan(shard: int, since_us: int, limit: int, most_bytes: int | None = None) -> Plan[SessionRecord]:
    """A shard's sessions and tombstones written after that time, newest first; without index as above."""
    newest = Search(
        collection=SESSIONS,
        limit=limit,
        order="updated_at",
        descending=True,
        after_us=since_us,
        most_bytes=most_bytes,
    )
    return Plan(
        search=msgspec.structs.replace(newest, equal={"shard": shard}),
        plain=newest,
        read=read_session,
        keep=lambda record: record.shard == shard,
        rank=lambda record: -record.updated_at,
    )


def open_plan(shard: int, limit: int, after: UpdateRecord | None = None) -> Plan[UpdateRecord]:
    """A shard's updates without an end, oldest first; without index, any of them."""
    equal = {"shard": shard, "open": True}
    return _oldest(Search(collection=UPDATES, limit=limit, equal=equal), after)


def states_plan(states: Sequence[TurnState], limit: int) -> Plan[UpdateRecord]:
    """Updates in one of these states, oldest first; without index as above."""
    return _oldest(Search(collection=UPDATES, limit=limit, any_of=("state", tuple(states))))


def stray_plan(shards: int, limit: int, after: Stray | None = None) -> Plan[Stray]:
    """Updates without an end of shards from that one on, by shard; without index, any that have no end."""
    waiting = Search(collection=UPDATES, limit=limit, equal={"open": True}, only=("chat", "shard"))
    start = (after.shard, update_path(after.key)) if after is not None else None
    return Plan(
        search=msgspec.structs.replace(waiting, order="shard", at_least=shards, after=start),
        plain=waiting,
        read=_read_stray,
        keep=lambda each: (
            each.shard >= shards and (after is None or place_of_stray(each) > place_of_stray(after))
        ),
        rank=lambda stray: stray.shard,
    )


def place_of_stray(stray: Stray) -> tuple[int, str]:
    """Where it stands by shard, in which Firestore puts documents by name."""
    return stray.shard, stray.key


def _oldest(unordered: Search, after: UpdateRecord | None = None) -> Plan[UpdateRecord]:
    """Equality alone is served by the indexes that Firestore keeps for every field."""
    start = (utc(after.accepted_at), update_path(after.key)) if after is not None else None
    return Plan(
        search=msgspec.structs.replace(unordered, order="accepted_at", after=start),
        plain=unordered,
        read=read_update,
        keep=lambda record: after is None or _place(record) > _place(after),
        rank=lambda record: record.accepted_at,
    )


def _read_stray(path: str, document: Any) -> Stray:
    """Raises UnreadableDocument."""
    bot, update = update_ids(path)
    chat, shard = read_int(document.fields, "chat"), read_int(document.fields, "shard")
    return Stray(bot=bot, update=update, chat=chat, shard=shard)


def _place(record: UpdateRecord) -> tuple[float, str]:
    """Where it stands in the order of acceptance, in which Firestore puts documents of one moment by name."""
    return record.accepted_at, record.key
