"""Gives dead-lettered updates another turn: each as a new update of ours, so that its record stays what it was."""

from typing import Final

import msgspec

from actors import turns
from actors.meter import Meter
from actors.stores import SessionStore, UpdateRecord
from app.store.database import Database
from contracts.base import Value
from contracts.codec import UNREADABLE

LETTERS_MOST: Final = 64_000
"""Looked at, of a few kB each and at most a week old: all at once, as fewer than were asked for are not the last ones
where some can't be read or have expired, and replayed ones stand before those to be replayed."""

_OF_ZERO: Final = -(2**63)  # 0 has no negative, and no update of Telegram's the negative of this


class Reopened(Value, frozen=True, kw_only=True):
    """Update ids. `reopened` wait for their turn now; `left` have why they can't be given one, by id as text."""

    reopened: tuple[int, ...] = ()
    left: dict[str, str] = msgspec.field(default_factory=dict)


async def replay_dead(database: Database) -> Reopened:
    """Append the dead letters of which nobody saw an answer at the end of their chats' mailboxes; raises StoreError.

    A running service's sweeper takes them up. The new update has the negative id of the old one, which no
    update of Telegram's has, so that a second replay finds it there and changes nothing.
    """
    store = database.sessions(Meter())
    try:
        dead = await store.find_updates(("dead_lettered",), LETTERS_MOST)
        outcomes = [(record.update, await _replay(store, record)) for record in dead]
    finally:
        await store.close()
    return Reopened(
        reopened=tuple(update for update, why in outcomes if not why),
        left={str(update): why for update, why in outcomes if why},
    )


def id_of_replay(update: int) -> int:
    """The id of the update that is another turn for `update`."""
    return -update or _OF_ZERO


async def _replay(store: SessionStore, record: UpdateRecord) -> str:
    """Replay one; gives why not, or an empty string."""
    if record.update < 0:
        return "is a replay itself"
    try:
        turn = turns.unpack(record)
    except UNREADABLE:
        return "is erased or unreadable"
    if not turn.gave_up and any(chunk.state in ("sent", "unknown") for chunk in turn.chunks):
        return "was answered in part"
    appended = await store.append(_anew(record, turn))
    return "" if appended.created else "was replayed before"


def _anew(record: UpdateRecord, turn: turns.TurnRecord) -> UpdateRecord:
    return msgspec.structs.replace(
        record,
        update=id_of_replay(record.update),
        state="accepted",
        open=True,
        reason="",
        body=turns.pack(turns.TurnRecord(incoming=turn.incoming)),
        version=0,
        accepted_at=0.0,
    )
