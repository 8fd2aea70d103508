"""Reads a run's end: Telegram's transcript and the stored conversations, against the outboxes of the store."""

from collections.abc import Iterable, Sequence
from typing import Final

from actors import turns
from actors.stores import UpdateRecord
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_world import Message as SeenMessage
from contracts.turns import Chunk, Session

ASK: Final = "message {}: what did I say before?"
LIST: Final = "/skills"  # three chunks, with the skills of `kill_place.many_skills`
LIST_EVERY: Final = 4


def against_transcript(
    chat: int, records: Sequence[UpdateRecord], telegram: TelegramSimulator
) -> Iterable[str]:
    """Walk what is visible along the outboxes: each chunk at most once, in order, none missing that was sent."""
    planned = [(record.update, chunk) for record in records for chunk in turns.unpack(record).chunks]
    for message in telegram.replies(chat):
        place = _place_of(message, [chunk for _, chunk in planned])
        if place < 0:
            yield f"chat {chat}: message {message.message_id} is doubled or out of order: {message.text[:60]!r}"
            continue
        yield from _unseen(chat, planned[:place])
        planned = planned[place + 1 :]
    yield from _unseen(chat, planned)


def _place_of(seen: SeenMessage, planned: Sequence[Chunk]) -> int:
    """Which chunk a visible message is, -1 for none: by its id, or, of one that ended as unknown, by its text."""
    by_id = (at for at, chunk in enumerate(planned) if chunk.message == seen.message_id)
    unsure = (
        at for at, chunk in enumerate(planned) if chunk.state == "unknown" and chunk.text.strip() == seen.text
    )
    return next(by_id, next(unsure, -1))


def _unseen(chat: int, passed: Iterable[tuple[int, Chunk]]) -> Iterable[str]:
    for update, chunk in passed:
        if chunk.state != "unknown":
            yield f"chat {chat}: a chunk of update {update} is {chunk.state} and not visible"


def is_stale(number: int, record: UpdateRecord) -> bool:
    """Whether the answer to a chat's message quotes an older question than the one before it."""
    if number % LIST_EVERY == 0:
        return False
    before = number - 1 if (number - 1) % LIST_EVERY else number - 2
    expected = ASK.format(before) if before > 0 else "first message of yours"
    return expected not in " ".join(chunk.text for chunk in turns.unpack(record).chunks)


def against_history(chat: int, messages: int, session: Session | None) -> Iterable[str]:
    """The stored conversation is the end of all that was asked, each question once and followed by its answer."""
    asked = [ASK.format(number) for number in range(1, messages + 1) if number % LIST_EVERY]
    stored = [message.text for message in session.messages[::2]] if session else []
    roles = {message.role for message in session.messages[::2]} if session else set()
    if stored != asked[-len(stored) :] or (asked and not stored) or roles - {"user"}:
        yield f"chat {chat}: of {len(asked)} questions the stored conversation holds {stored}"
