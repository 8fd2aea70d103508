"""Reads a run's end: Telegram's transcript and the stored conversations, against the outboxes of the store."""

from collections.abc import Iterable, Sequence
from typing import Literal

from actors import turns
from actors.stores import UpdateRecord
from app.chaos.siege.crowd import ASK, LIST_EVERY
from app.telegram.simulator_world import Message as SeenMessage
from contracts.base import Value
from contracts.turns import Chunk, Session

Promise = Literal["lost", "doubled", "out of order", "unknown", "history", "limit", "leak"]


class Problem(Value, frozen=True):
    """A broken promise, and what was seen."""

    promise: Promise
    detail: str

    def __str__(self) -> str:
        """As a line."""
        return f"{self.promise}: {self.detail}"


def against_transcript(
    chat: int, records: Sequence[UpdateRecord], replies: Sequence[SeenMessage]
) -> Iterable[Problem]:
    """Walk what is visible along the outboxes: each chunk at most once, in order, none missing that was sent.

    `records` are the chat's, in the order of arrival.
    """
    planned = [(record.update, chunk) for record in records for chunk in turns.unpack(record).chunks]
    shown: set[int] = set()
    furthest = -1
    for message in replies:
        place = _place_of(message, [chunk for _, chunk in planned], shown, furthest)
        if place is None:
            yield Problem("doubled", f"chat {chat}: message {message.message_id}, {message.text[:60]!r}")
            continue
        if place < furthest:
            update, _ = planned[place]
            yield Problem("out of order", f"chat {chat}: {message.text[:60]!r} of update {update}")
        shown.add(place)
        furthest = max(furthest, place)
    for place, (update, chunk) in enumerate(planned):
        if place not in shown and chunk.state != "unknown":
            yield Problem("lost", f"chat {chat}: a chunk of update {update} is {chunk.state} and not visible")


def against_history(chat: int, messages: int, session: Session | None) -> Iterable[Problem]:
    """The stored conversation is the end of all that was asked, each question once and followed by its answer."""
    asked = [ASK.format(number) for number in range(1, messages + 1) if number % LIST_EVERY]
    stored = [message.text for message in session.messages[::2]] if session else []
    roles = {message.role for message in session.messages[::2]} if session else set()
    if stored != asked[-len(stored) :] or (asked and not stored) or roles - {"user"}:
        detail = f"chat {chat}: of {len(asked)} questions the stored conversation holds {stored}"
        yield Problem("history", detail)


def is_stale(number: int, record: UpdateRecord) -> bool:
    """Whether the answer to a chat's message quotes an older question than the one before it."""
    if number % LIST_EVERY == 0:
        return False
    before = number - 1 if (number - 1) % LIST_EVERY else number - 2
    expected = ASK.format(before) if before > 0 else "first message of yours"
    return expected not in " ".join(chunk.text for chunk in turns.unpack(record).chunks)


def is_sending(record: UpdateRecord) -> bool:
    """Whether the store says that one of the update's chunks is on its way."""
    return any(chunk.state == "sending" for chunk in turns.unpack(record).chunks)


# ---------------------------------------------------------------- helpers


def _place_of(seen: SeenMessage, planned: Sequence[Chunk], shown: set[int], furthest: int) -> int | None:
    """Which chunk a visible message is: by its id, or, of one that ended as unknown, by its text; else None."""
    left = [(at, chunk) for at, chunk in enumerate(planned) if at not in shown]
    by_id = (at for at, chunk in left if chunk.message == seen.message_id)
    unsure = [at for at, chunk in left if chunk.state == "unknown" and chunk.text.strip() == seen.text]
    ahead = (at for at in unsure if at > furthest)
    return next(by_id, next(ahead, next(iter(unsure), None)))
