"""Looks through a live store for updates without an end, and for ends that an operator should know of."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from actors.meter import Meter
from actors.stores import ChatState, LeaseRecord, SessionStore, UpdateRecord
from app.doctor_records import WAITING, Contradiction, contradiction, contradictions
from app.doctor_webhook import Webhooks, WebhookState, webhook_state
from app.store.database import Database
from contracts.base import Value
from contracts.skills import SetAside
from contracts.turns import TurnState

LOOKED_AT: Final = 1_000  # records of each state: enough to see that something is wrong, and bounded
CHATS_AT_ONCE: Final = 200  # what the port's `read_chats` takes in one wave
RUNNING_S: Final = 30.0  # a younger turn may still be running, or a dead owner's still be taken up

TOLD: Final[tuple[TurnState, ...]] = ("unknown", "dead_lettered")
OUTSIDE: Final = "waits for its turn, and has no ticket in its chat's mailbox"
ENDED: Final[tuple[TurnState, ...]] = ("answered", "ignored", "refused", "quarantined", *TOLD)


class StuckLease(Value, frozen=True, kw_only=True):
    """A lease that ran out over a turn that nobody took up since."""

    chat: int
    update: str
    owner: str
    attempt: int
    age_s: float


class Wait(Value, frozen=True, kw_only=True):
    """A chat whose first turn waits, as Telegram asked or until it is tried again: `until` is a Unix time."""

    chat: int
    update: str
    left_s: float
    until: float


class Noted(Value, frozen=True, kw_only=True):
    """An update that is lost, stuck, unknown or dead, and why; `age_s` since it was accepted."""

    update: int
    chat: int
    state: TurnState
    age_s: float
    reason: str


class Findings(Value, frozen=True, kw_only=True):
    """Update ids. `lost`: no end and no owner; `stuck`: an owner took it and stopped; `unknown`, `dead`: ended so.

    `waiting`: its chat waits as it was told to, `waits` say until when. `contradictions` break I1 or I2
    in the store itself, `set_aside` are documents that nobody can read: updates without an end, which nobody works
    then, and whatever else the chats looked at have.

    `ok` says that nothing is lost, stuck, contradictory or unreadable, no index is missing, and Telegram has no
    trouble with webhook or token: an unknown or dead end is an end, with its reason in the store.

    `checked` counts the records looked at by state, at most LOOKED_AT of each. `unchecked` names the states that
    are findings and of which there may be more; other ends are looked at for contradictions alone, and pile up.
    `webhook` is None when Telegram was not asked. `actors` says why actors of a deployed app do not answer or
    are degraded; it is None when none was asked.
    """

    ok: bool
    lost: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    stuck: tuple[int, ...] = ()
    dead: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    waits: tuple[Wait, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    stuck_leases: tuple[StuckLease, ...] = ()
    missing_indexes: tuple[str, ...] = ()
    webhook: WebhookState | None = None
    actors: Mapping[str, str] | None = None
    updates: tuple[Noted, ...] = ()
    checked: Mapping[str, int] = {}
    unchecked: tuple[str, ...] = ()


async def examine(database: Database, telegram: Webhooks | None = None) -> Findings:
    """Examine the store, and Telegram's side if it is given; raises StoreError."""
    store = database.sessions(Meter())
    try:
        now = await database.now()  # the operator's clock may be off, and what is old is old by the store's
        found, unread, missing, webhook = await asyncio.gather(
            _examine(store, now),
            database.unreadable_updates(LOOKED_AT),
            database.missing_indexes(),
            webhook_state(telegram, now),
        )
    finally:
        await store.close()
    ok = found.ok and not unread and not missing and not (webhook and webhook.problem)
    aside = tuple(
        dict.fromkeys((*found.set_aside, *unread))
    )  # a chat that was looked at tells of its own as well
    return msgspec.structs.replace(found, ok=ok, set_aside=aside, missing_indexes=missing, webhook=webhook)


def with_actors(findings: Findings, stats: Mapping[str, Mapping[str, object]]) -> Findings:
    """Add what is wrong with the actors, by what they tell of themselves: such a one is a finding, too."""
    wrong = {
        label: str(why)
        for label, each in stats.items()
        if (why := each.get("unreachable") or each.get("degraded"))
    }
    return msgspec.structs.replace(findings, actors=wrong, ok=findings.ok and not wrong)


# ---------------------------------------------------------------- the store


async def _examine(store: SessionStore, now: float) -> Findings:
    found = await _find(store, (*WAITING, *ENDED))
    left = await _left_alone(store, [record for state in WAITING for record in found[state]], now)
    odd = (*left.outside, *contradictions(record for records in found.values() for record in records))
    told = (record for state in TOLD for record in found[state])
    return Findings(
        ok=not (left.records or odd or left.set_aside),
        lost=_ids(record for record in left.records if record.state == "accepted"),
        stuck=_ids(record for record in left.records if record.state == "committed"),
        unknown=_ids(found["unknown"]),
        dead=_ids(found["dead_lettered"]),
        waiting=_ids(left.waiting),
        waits=left.waits,
        contradictions=odd,
        set_aside=left.set_aside,
        stuck_leases=left.leases,
        updates=tuple(_noted(record, now) for record in (*left.records, *told)),
        checked={state: len(records) for state, records in found.items()},
        unchecked=tuple(state for state in (*WAITING, *TOLD) if len(found[state]) >= LOOKED_AT),
    )


class _LeftAlone(NamedTuple):
    """Updates that nobody works on although it is time, the leases that ran out over them, and what else was seen."""

    records: tuple[UpdateRecord, ...] = ()
    leases: tuple[StuckLease, ...] = ()
    waiting: tuple[UpdateRecord, ...] = ()
    waits: tuple[Wait, ...] = ()
    outside: tuple[Contradiction, ...] = ()
    set_aside: tuple[SetAside, ...] = ()


async def _find(store: SessionStore, states: Sequence[TurnState]) -> dict[TurnState, Sequence[UpdateRecord]]:
    """Each state by itself, so that a thousand of one do not hide another."""
    found = await asyncio.gather(*(store.find_updates((state,), LOOKED_AT) for state in states))
    return dict(zip(states, found, strict=True))


async def _left_alone(store: SessionStore, open_ones: Sequence[UpdateRecord], now: float) -> _LeftAlone:
    old = [record for record in open_ones if now - record.accepted_at >= RUNNING_S]
    if not old:
        return _LeftAlone()
    chats = await _chats(store, sorted({record.chat for record in old}))
    again = await _find(store, WAITING)  # some may have ended between the two looks
    still = {record.key for records in again.values() for record in records}
    old = [record for record in old if record.key in still]
    left = tuple(record for record in old if not _is_cared_for(chats[record.chat], record))
    waiting = tuple(record for record in old if record not in left and _is_told_to_wait(chats[record.chat]))
    leases = (_stuck_lease(chat, chats[chat]) for chat in sorted({each.chat for each in left}))
    return _LeftAlone(
        records=left,
        leases=tuple(lease for lease in leases if lease is not None and lease.update in still),
        waiting=waiting,
        waits=tuple(_wait(chat, chats[chat], now) for chat in sorted({each.chat for each in waiting})),
        outside=tuple(
            contradiction(record, OUTSIDE) for record in left if not _is_in(chats[record.chat], record)
        ),
        set_aside=tuple(each for chat in chats.values() for each in chat.set_aside),
    )


async def _chats(store: SessionStore, chats: Sequence[int]) -> dict[int, ChatState]:
    waves = [chats[start : start + CHATS_AT_ONCE] for start in range(0, len(chats), CHATS_AT_ONCE)]
    read: dict[int, ChatState] = {}
    for wave in waves:
        read |= await store.read_chats(wave)
    return read


def _is_in(chat: ChatState, record: UpdateRecord) -> bool:
    """Whether the record has its ticket: without one nobody ever takes it up."""
    return any(each.key == record.key for each in chat.open_updates)


def _is_cared_for(chat: ChatState, record: UpdateRecord) -> bool:
    """Whether the chat's first turn is worked on or waits, and this one is it or comes after it."""
    return _is_in(chat, record) and (_is_worked(chat) or _is_told_to_wait(chat))


def _is_worked(chat: ChatState) -> bool:
    """Whether the first turn's lease is one that lives, or may be taken over in time; of another turn it is none."""
    lease = _first_lease(chat)
    return lease is not None and bool(lease.owner) and lease.age_s < RUNNING_S


def _is_told_to_wait(chat: ChatState) -> bool:
    """Whether nothing may be sent to the chat yet, or the wait is just over."""
    lease = _first_lease(chat)
    return lease is not None and lease.wait_s != 0.0 and lease.wait_s > -RUNNING_S


def _first_lease(chat: ChatState) -> LeaseRecord | None:
    head = chat.open_updates[0].key if chat.open_updates else ""
    return chat.lease if chat.lease is not None and chat.lease.update_key == head else None


def _wait(number: int, chat: ChatState, now: float) -> Wait:
    lease = chat.lease
    left_s = max(0.0, lease.wait_s) if lease is not None else 0.0
    update = lease.update_key if lease is not None else ""
    return Wait(chat=number, update=update, left_s=round(left_s, 1), until=round(now + left_s, 1))


def _stuck_lease(chat: int, state: ChatState) -> StuckLease | None:
    held = state.lease
    if held is None:
        return None
    return StuckLease(
        chat=chat, update=held.update_key, owner=held.owner, attempt=held.attempt, age_s=round(held.age_s, 1)
    )


def _noted(record: UpdateRecord, now: float) -> Noted:
    age_s = round(now - record.accepted_at, 1)
    return Noted(
        update=record.update, chat=record.chat, state=record.state, age_s=age_s, reason=record.reason
    )


def _ids(records: Iterable[UpdateRecord]) -> tuple[int, ...]:
    return tuple(record.update for record in records)
