"""A recording of Telegram updates: JSON lines or one JSON array, plain or gzip, read piece by piece."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Final

import msgspec

from contracts.base import Value
from contracts.codec import UNREADABLE

GZIP_MAGIC: Final = b"\x1f\x8b"
BOM: Final = b"\xef\xbb\xbf"
LINE_MOST: Final = 1024 * 1024  # bytes; the webhook takes no longer body
ARRAY_MOST: Final = 256 * 1024 * 1024  # bytes of a JSON array, which is read whole, as lines are not


class Recorded(Value, frozen=True):
    """An update to post; `lane` is its chat, `read` how many bytes of the file had been read with it."""

    body: bytes
    lane: int
    read: int


class Malformed(Value, frozen=True):
    """No update: `place` is `line 7`, or `element 7` of an array."""

    place: str
    reason: str


def read_recording(file: Path) -> Iterator[Recorded | Malformed]:
    """Give a file's updates: JSON lines or one JSON array, plain or gzip; raises OSError when it can't be read."""
    with file.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) if packed else raw as text:
            yield from _read(text, raw.tell)


def _read(text: BufferedIOBase, read: Callable[[], int]) -> Iterator[Recorded | Malformed]:
    try:
        beginning = text.read(len(BOM))
        text.seek(len(BOM) if beginning == BOM else 0)
        elements = _array(text)
        yield from _lines(text, read) if elements is None else _updates(elements, "element", read)
    except (EOFError, gzip.BadGzipFile, zlib.error) as broken:
        yield Malformed("end", f"the compressed file is damaged: {broken}")


def _array(text: BufferedIOBase) -> list[msgspec.Raw] | None:
    """The elements, if all of the file is one JSON array; else None, and the file is where it was."""
    start = text.tell()
    if text.read(4096).lstrip()[:1] == b"[":
        text.seek(start)
        try:
            return _elements(text.read(ARRAY_MOST))
        except UNREADABLE:
            pass  # lines of which the first is none of ours, or more than is read at once
    text.seek(start)
    return None


def _lines(text: BufferedIOBase, read: Callable[[], int]) -> Iterator[Recorded | Malformed]:
    return _updates(_bounded_lines(text), "line", read)


def _bounded_lines(text: BufferedIOBase) -> Iterator[bytes]:
    """Lines with at most LINE_MOST + 1 bytes of each."""
    while line := text.readline(LINE_MOST + 2):
        whole = line.endswith(b"\n")
        yield line.strip()
        while not whole and (rest := text.readline(LINE_MOST)):
            whole = rest.endswith(b"\n")


def _updates(
    bodies: Iterable[bytes | msgspec.Raw], kind: str, read: Callable[[], int]
) -> Iterator[Recorded | Malformed]:
    for number, body in enumerate(map(bytes, bodies), 1):
        if not body:
            continue
        found = _lane(body)
        yield (
            Malformed(f"{kind} {number}", found) if isinstance(found, str) else Recorded(body, found, read())
        )


class _Chat(msgspec.Struct):
    id: int = 0


class _Content(msgspec.Struct):
    """What a kind of update may carry: its chat, or the message under which a button was pressed."""

    chat: _Chat | None = None
    message: "_Content | None" = None


class _Update(msgspec.Struct):
    update_id: int


_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_update = msgspec.json.Decoder(_Update).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_content = msgspec.json.Decoder(_Content).decode


def _lane(body: bytes) -> int | str:
    """The chat that the update belongs to (its own id, if to none), or why it is no update."""
    if len(body) > LINE_MOST:
        return f"longer than {LINE_MOST} bytes"
    try:
        number = _update(body).update_id
    except UNREADABLE as wrong:
        return str(wrong)[:200]
    return _chat(body) or number


def _chat(body: bytes) -> int:
    contents = (raw for name, raw in _fields(body).items() if name != "update_id")
    try:
        content = _content(next(contents, b"{}"))
    except UNREADABLE:
        return 0  # a kind that we don't know: the service will say what it thinks of it
    chat = content.chat or (content.message.chat if content.message else None)
    return chat.id if chat else 0
