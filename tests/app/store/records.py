"""Records to store, with everything that a test does not care about filled in."""

import msgspec

from actors.stores import LeaseRecord, SessionRecord, TurnWrite, UpdateRecord
from contracts.turns import TurnState

BOT = 7
CHAT = 500


def update(number: int, chat: int = CHAT, *, shard: int = 0, body: bytes = b"turn") -> UpdateRecord:
    """An update that waits for its turn."""
    return UpdateRecord(
        bot=BOT, update=number, chat=chat, shard=shard, state="accepted", open=True, body=body
    )


def ended(
    record: UpdateRecord, state: TurnState = "answered", *, reason: str = "", body: bytes = b"turn"
) -> UpdateRecord:
    """The same update, its turn over."""
    return msgspec.structs.replace(record, state=state, open=False, reason=reason, body=body)


def session(chat: int = CHAT, *, version: int = 0, shard: int = 0, body: bytes = b"session") -> SessionRecord:
    """A session to write over `version`."""
    return SessionRecord(chat=chat, shard=shard, body=body, version=version)


def lease(number: int = 1, *, owner: str = "one", attempt: int = 1) -> LeaseRecord:
    """A lease on the turn of that update."""
    return LeaseRecord(lease=f"lease-{number}", owner=owner, update_key=f"{BOT}:{number}", attempt=attempt)


def step(
    record: UpdateRecord,
    *,
    operation: str = "step",
    session: SessionRecord | None = None,
    lease: LeaseRecord | None = None,
) -> TurnWrite:
    """A step of the update's turn."""
    return TurnWrite(operation=operation, update=record, session=session, lease=lease)
