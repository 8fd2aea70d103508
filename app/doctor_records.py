"""Looks at a stored update by itself: whether its state, its reason and its chunks say the same."""

from collections.abc import Iterable
from typing import Final

from actors import turns
from actors.stores import UpdateRecord
from contracts.base import Value
from contracts.codec import UNREADABLE
from contracts.turns import TurnState

WAITING: Final[tuple[TurnState, ...]] = ("accepted", "committed")


class Contradiction(Value, frozen=True, kw_only=True):
    """A record that does not agree with itself, or with its chat's mailbox."""

    update: int
    chat: int
    state: TurnState
    problem: str


def contradictions(records: Iterable[UpdateRecord]) -> tuple[Contradiction, ...]:
    """Those of the records that break I1 or I2 by what they say of themselves."""
    return tuple(contradiction(record, problem) for record in records if (problem := _problem(record)))


def _problem(record: UpdateRecord) -> str:
    """What the record says against I1 or I2; an empty string when it is sound."""
    if record.open != (record.state in WAITING):
        return "has no end, and is closed" if record.state in WAITING else "has its end, and is open"
    if record.open or (record.state != "answered" and record.reason):
        return ""
    return _unsent(record) if record.state == "answered" else "ended without a reason"


def _unsent(record: UpdateRecord) -> str:
    """Whether all of an answer was sent, as far as it is still kept."""
    try:
        chunks = turns.unpack(record).chunks
    except UNREADABLE:  # erased, as its chat was forgotten
        return ""
    left = next(
        (f"chunk {index} is {each.state}" for index, each in enumerate(chunks) if each.state != "sent"), ""
    )
    return f"is called answered, and {left}" if left else ""


def contradiction(record: UpdateRecord, problem: str) -> Contradiction:
    """A record, and what is wrong with it."""
    return Contradiction(update=record.update, chat=record.chat, state=record.state, problem=problem)
