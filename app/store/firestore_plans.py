"""The queries of the session store: each with the index that serves it, and the way to do without."""

from collections.abc import Sequence

import msgspec

from actors.ports import SessionRecord, UpdateRecord
from app.store.firestore_docs import SESSIONS, UPDATES, read_session, read_update
from app.store.firestore_requests import Search
from app.store.firestore_search import Plan
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


def changed_plan(shard: int, since_us: int, limit: int) -> Plan[SessionRecord]:
    """A shard's sessions and tombstones written after that time, newest first; without index as above."""
    newest = Search(collection=SESSIONS, limit=limit, order="updated_at", descending=True, after_us=since_us)
    return Plan(
        search=msgspec.structs.replace(newest, equal={"shard": shard}),
        plain=newest,
        read=read_session,
        keep=lambda record: record.shard == shard,
        rank=lambda record: -record.updated_at,
    )


def open_plan(shard: int, limit: int) -> Plan[UpdateRecord]:
    """A shard's updates without an end, oldest first; without index, any of them."""
    equal = {"shard": shard, "open": True}
    return _oldest(Search(collection=UPDATES, limit=limit, equal=equal))


def states_plan(states: Sequence[TurnState], limit: int) -> Plan[UpdateRecord]:
    """Updates in one of these states, oldest first; without index as above."""
    return _oldest(Search(collection=UPDATES, limit=limit, any_of=("state", tuple(states))))


def _oldest(unordered: Search) -> Plan[UpdateRecord]:
    """Equality alone is served by the indexes that Firestore keeps for every field."""
    return Plan(
        search=msgspec.structs.replace(unordered, order="accepted_at"),
        plain=unordered,
        read=read_update,
        keep=lambda _: True,
        rank=lambda record: record.accepted_at,
    )
