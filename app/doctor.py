"""Looks through a live store for updates without an end, and for ends that an operator should know of."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from actors.mailbox import LEASE_S
from actors.meter import Meter
from actors.ports import TelegramError, TokenRefused
from actors.stores import ChatState, SessionStore, UpdateRecord
from app.store.database import Database
from app.telegram.methods import WebhookInfo
from contracts.base import Value
from contracts.turns import TurnState

LOOKED_AT: Final = 1_000  # records of each state: enough to see that something is wrong, and bounded
CHATS_AT_ONCE: Final = 200  # what the port's `read_chats` takes in one wave
RUNNING_S: Final = 30.0  # a younger turn may still be running, or a dead owner's still be taken up
TELEGRAM_S: Final = 5.0  # a Telegram that is away is no reason to wait
RECENT_S: Final = 3600.0  # Telegram keeps a webhook's last error for ever, and tries again within this

WAITING: Final[tuple[TurnState, ...]] = ("accepted", "committed")
TOLD: Final[tuple[TurnState, ...]] = ("unknown", "dead_lettered")


class StuckLease(Value, frozen=True, kw_only=True):
    """A lease that ran out over a turn that nobody took up since."""

    chat: int
    update: str
    owner: str
    attempt: int
    age_s: float


class Noted(Value, frozen=True, kw_only=True):
    """An update that is lost, stuck, unknown or dead, and why; `age_s` since it was accepted."""

    update: int
    chat: int
    state: TurnState
    age_s: float
    reason: str


class WebhookState(Value, frozen=True, kw_only=True):
    """What Telegram says of the webhook; `problem` is one line, empty when all is well. No `url`: polled for.

    `unasked` is why Telegram could not be asked: that says nothing of the store, and is no finding.
    """

    url: str = ""
    pending: int = 0
    last_error: str = ""
    last_error_age_s: float = 0.0
    problem: str = ""
    unasked: str = ""


class Findings(Value, frozen=True, kw_only=True):
    """Update ids. `lost`: no end and no owner; `stuck`: an owner took it and stopped; `unknown`, `dead`: ended so.

    `ok` says that nothing is lost or stuck, no index is missing, and Telegram has no trouble with webhook or token:
    an unknown or dead end is an end, with its reason in the store. `checked` counts the records looked at by
    state, `unchecked` names the states of which there are more; `webhook` is None when Telegram was not asked.
    `actors` says why actors of a deployed app do not answer or are degraded; it is None when none was asked.
    """

    ok: bool
    lost: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    stuck: tuple[int, ...] = ()
    dead: tuple[int, ...] = ()
    stuck_leases: tuple[StuckLease, ...] = ()
    missing_indexes: tuple[str, ...] = ()
    webhook: WebhookState | None = None
    actors: Mapping[str, str] | None = None
    updates: tuple[Noted, ...] = ()
    checked: Mapping[str, int] = {}
    unchecked: tuple[str, ...] = ()


class Webhooks(Protocol):
    """What the doctor asks of Telegram."""

    async def get_webhook_info(self) -> WebhookInfo:
        """Tell what is set, what waits and what failed last; raises TelegramError."""

    async def get_me(self) -> object:
        """Tell whose token it is; raises TelegramError."""


async def examine(database: Database, telegram: Webhooks | None = None) -> Findings:
    """Examine the store, and Telegram's side if it is given; raises StoreError."""
    store = database.sessions(Meter())
    try:
        found, missing, webhook = await asyncio.gather(
            _examine(store), database.missing_indexes(), _webhook(telegram)
        )
    finally:
        await store.close()
    ok = found.ok and not missing and not (webhook and webhook.problem)
    return msgspec.structs.replace(found, ok=ok, missing_indexes=missing, webhook=webhook)


def with_actors(findings: Findings, stats: Mapping[str, Mapping[str, object]]) -> Findings:
    """Add what is wrong with the actors, by what they tell of themselves: such a one is a finding, too."""
    wrong = {
        label: str(why)
        for label, each in stats.items()
        if (why := each.get("unreachable") or each.get("degraded"))
    }
    return msgspec.structs.replace(findings, actors=wrong, ok=findings.ok and not wrong)


# ---------------------------------------------------------------- the store


async def _examine(store: SessionStore) -> Findings:
    found = await _find(store, (*WAITING, *TOLD))
    left = await _left_alone(store, [record for state in WAITING for record in found[state]])
    return Findings(
        ok=not left.records,
        lost=_ids(record for record in left.records if record.state == "accepted"),
        stuck=_ids(record for record in left.records if record.state == "committed"),
        unknown=_ids(found["unknown"]),
        dead=_ids(found["dead_lettered"]),
        stuck_leases=left.leases,
        updates=tuple(map(_noted, (*left.records, *(record for state in TOLD for record in found[state])))),
        checked={state: len(records) for state, records in found.items()},
        unchecked=tuple(state for state, records in found.items() if len(records) >= LOOKED_AT),
    )


class _LeftAlone(NamedTuple):
    """Updates that nobody works on although it is time, and the leases that ran out over them."""

    records: tuple[UpdateRecord, ...] = ()
    leases: tuple[StuckLease, ...] = ()


async def _find(store: SessionStore, states: Sequence[TurnState]) -> dict[TurnState, Sequence[UpdateRecord]]:
    """Each state by itself, so that a thousand of one do not hide another."""
    found = await asyncio.gather(*(store.find_updates((state,), LOOKED_AT) for state in states))
    return dict(zip(states, found, strict=True))


async def _left_alone(store: SessionStore, waiting: Sequence[UpdateRecord]) -> _LeftAlone:
    old = [record for record in waiting if _age_s(record) >= RUNNING_S]
    if not old:
        return _LeftAlone()
    chats = await _chats(store, sorted({record.chat for record in old}))
    left = {record.key: record for record in old if not _is_worked(chats[record.chat])}
    again = await _find(store, WAITING)  # some may have ended between the two looks
    still = {record.key for records in again.values() for record in records}
    leases = (_stuck_lease(chat, chats[chat]) for chat in sorted({each.chat for each in left.values()}))
    return _LeftAlone(
        records=tuple(record for key, record in left.items() if key in still),
        leases=tuple(lease for lease in leases if lease is not None and lease.update in still),
    )


async def _chats(store: SessionStore, chats: Sequence[int]) -> dict[int, ChatState]:
    waves = [chats[start : start + CHATS_AT_ONCE] for start in range(0, len(chats), CHATS_AT_ONCE)]
    read: dict[int, ChatState] = {}
    for wave in waves:
        read |= await store.read_chats(wave)
    return read


def _is_worked(chat: ChatState) -> bool:
    return chat.lease is not None and chat.lease.age_s <= LEASE_S


def _stuck_lease(chat: int, state: ChatState) -> StuckLease | None:
    held = state.lease
    if held is None:
        return None
    return StuckLease(
        chat=chat, update=held.update_key, owner=held.owner, attempt=held.attempt, age_s=round(held.age_s, 1)
    )


def _noted(record: UpdateRecord) -> Noted:
    age_s = round(_age_s(record), 1)
    return Noted(
        update=record.update, chat=record.chat, state=record.state, age_s=age_s, reason=record.reason
    )


def _age_s(record: UpdateRecord) -> float:
    return time.time() - record.accepted_at


def _ids(records: Iterable[UpdateRecord]) -> tuple[int, ...]:
    return tuple(record.update for record in records)


# ---------------------------------------------------------------- Telegram's side


async def _webhook(telegram: Webhooks | None) -> WebhookState | None:
    if telegram is None:
        return None
    try:
        async with asyncio.timeout(TELEGRAM_S):
            return _state(await telegram.get_webhook_info())
    except TokenRefused as error:
        return await _refused(telegram, error)
    except TimeoutError:
        return WebhookState(unasked=f"Telegram did not answer within {TELEGRAM_S:g} s")
    except TelegramError as error:
        return WebhookState(unasked=f"Telegram can't be asked: {error}")


async def _refused(telegram: Webhooks, error: TokenRefused) -> WebhookState:
    """A token that `getMe` refuses, too, is one for an operator to mend; else only this method is not there."""
    try:
        async with asyncio.timeout(TELEGRAM_S):
            await telegram.get_me()
    except TokenRefused as refused:
        return WebhookState(problem=f"Telegram refuses TELEGRAM_BOT_TOKEN ({refused})")
    except (TimeoutError, TelegramError):
        pass  # then nothing is known of the token
    return WebhookState(unasked=f"Telegram can't be asked: {error}")


def _state(known: WebhookInfo) -> WebhookState:
    """An error is trouble while updates wait and Telegram has met it lately; else it is history."""
    age_s = max(0.0, time.time() - known.last_error_date) if known.last_error_date else 0.0
    troubled = bool(
        known.url and known.last_error_message and known.pending_update_count and age_s < RECENT_S
    )
    return WebhookState(
        url=known.url,
        pending=known.pending_update_count,
        last_error=known.last_error_message,
        last_error_age_s=round(age_s, 1),
        problem=f"Telegram can't deliver: {known.last_error_message}" if troubled else "",
    )
