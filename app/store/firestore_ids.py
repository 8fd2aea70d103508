"""Reads the ids in the names of documents, and takes no text for a number that is written otherwise."""

from typing import Final

from app.store.firestore_values import UnreadableDocument

_INT64: Final = 2**63


def chat_id(path: str) -> int:
    """The chat of a session or mailbox; raises UnreadableDocument."""
    return _plain_int(path.rpartition("/")[2], "a chat")


def update_ids(path: str) -> tuple[int, int]:
    """Bot and update of an update; raises UnreadableDocument."""
    bot, _, update = path.rpartition("/")[2].partition(":")
    return _plain_int(bot, "an update"), _plain_int(update, "an update")


def is_update_key(text: str) -> bool:
    """Whether the text is the key of an update, and so the id of a document."""
    try:
        return ":".join(map(str, update_ids(text))) == text
    except UnreadableDocument:
        return False


def _plain_int(text: str, what: str) -> int:
    """Python reads `1_0` and ` 1` as numbers, too, so the number is written back and compared."""
    try:
        number = int(text)
    except ValueError:
        number = _INT64
    if not -_INT64 <= number < _INT64 or str(number) != text:
        raise UnreadableDocument(f"its id is not {what}'s")
    return number
