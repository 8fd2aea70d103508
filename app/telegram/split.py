"""Cuts a text and its formatting into messages that Telegram takes."""

import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from contracts.turns import Chunk, Entity

MAX_UNITS: Final = 4096  # Bot API `sendMessage`: UTF-16 code units of a text
MAX_ENTITIES: Final = 100  # Bot API: what stands beyond them is not formatted

LEAST_UNITS: Final = 512  # a text that Telegram does not take in pieces of this is refused for something else

LINK_MOST: Final = 2048
"""Bytes of a link, which each chunk under it repeats: a longer one, in a hundred pieces of a reply, would make its turn
larger than a store's document (1 MiB), and the chat would wait for ever."""

_INDENT: Final = 256  # characters of indentation that a message may begin with
_CLUSTER: Final = 64  # code points; one character as people see it is shorter, a longer one is cut
_ZWJ: Final = "\u200d"
_INVISIBLE: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffc")  # letters and symbols without ink


class Span(NamedTuple):
    """Formatting of `text[start:end]`; `type` is that of a Bot API `MessageEntity`."""

    start: int
    end: int
    type: str
    url: str | None = None
    language: str | None = None


def split(text: str, spans: Iterable[Span], most: int = MAX_UNITS) -> Iterator[Chunk]:
    """Give the text in order, cut where it reads best: at a blank line, a line's end, a space.

    What is left out is white space (and pieces of nothing visible) at the cuts and both ends; a line's
    indentation stays. A word longer than a message, `most` UTF-16 units, is cut between characters. A span over
    a cut goes on in the next chunk, and a link of more than LINK_MOST is none. `text` has no lone surrogates.
    """
    short = (span for span in spans if len((span.url or "").encode()) <= LINK_MOST)
    waiting = sorted(short, key=lambda span: (span.start, -span.end))
    begin = _begin(text, 0)
    while begin < len(text):
        waiting = [span for span in waiting if span.end > begin]
        end = _end(text, begin, waiting, most)
        piece = text[begin:end].rstrip()
        if not is_blank(piece):
            yield Chunk(text=piece, entities=_entities(text, begin, begin + len(piece), waiting))
        begin = _begin(text, end)


def halve(chunk: Chunk) -> tuple[Chunk, ...]:
    """Cut a chunk as `split` cuts a text, into pieces of at most half its units, or of LEAST_UNITS if that is more.

    The last one has the buttons. A chunk of LEAST_UNITS or fewer gives none.
    """
    length = units(chunk.text)
    if length <= LEAST_UNITS:
        return ()
    at = index_of_units(chunk.text)
    spans = [
        Span(at(each.offset), at(each.offset + each.length), each.type, each.url, each.language)
        for each in chunk.entities
    ]
    pieces = tuple(split(chunk.text, spans, max(LEAST_UNITS, (length + 1) // 2)))
    return (*pieces[:-1], msgspec.structs.replace(pieces[-1], buttons=chunk.buttons)) if pieces else ()


def is_blank(text: str) -> bool:
    """Tell whether Telegram would call the text empty: white space, control and format characters only."""
    return all(
        character.isspace() or unicodedata.category(character) in ("Cc", "Cf") or character in _INVISIBLE
        for character in text
    )


def units(text: str) -> int:
    """Give the length in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def index_of_units(text: str) -> Callable[[int], int]:
    """Give the function from an offset in UTF-16 code units to an index of `text`."""
    wide = [index for index, character in enumerate(text) if character > "\uffff"]
    starts = [index + before for before, index in enumerate(wide)]
    return lambda offset: offset - bisect_left(starts, offset)


# ---------------------------------------------------------------- where to cut


def _begin(text: str, at: int) -> int:
    """Skip white space, but keep the indentation of the line that follows."""
    ink = _ink(text, at)
    if ink == len(text):
        return ink
    line = text.rfind("\n", at, ink) + 1
    start = line or (ink if at else 0)
    return start if ink - start <= _INDENT else ink


def _ink(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _end(text: str, begin: int, spans: Sequence[Span], most: int) -> int:
    ink = _ink(text, begin)
    ceiling = max(ink + 1, min(_units_end(text, begin, most), _entities_end(text, ink, spans)))
    return len(text) if ceiling >= len(text) else _best_cut(text, ink, ceiling)


def _units_end(text: str, begin: int, most: int) -> int:
    encoded = text[begin : begin + most].encode("utf-16-le")[: 2 * most]
    return begin + len(encoded.decode("utf-16-le", "ignore"))  # half a pair at the end is left for the next


def _entities_end(text: str, ink: int, spans: Sequence[Span]) -> int:
    """End before the span that is too many; where all of them begin at once, `_entities` drops the innermost."""
    full = len(spans) > MAX_ENTITIES and spans[MAX_ENTITIES].start > ink
    return spans[MAX_ENTITIES].start if full else len(text)


def _best_cut(text: str, ink: int, ceiling: int) -> int:
    """Prefer a blank line or a line's end if the message is at least half full then."""
    half = (ink + ceiling) // 2
    for mark in ("\n\n", "\n"):
        at = text.rfind(mark, half + 1, ceiling + len(mark))
        if at > ink:
            return at
    for at in range(ceiling, ink, -1):
        if text[at].isspace():
            return at
    return _between_characters(text, ink, ceiling)


def _between_characters(text: str, ink: int, ceiling: int) -> int:
    for at in range(ceiling, max(ink, ceiling - _CLUSTER), -1):
        if not _joined(text, at):
            return at
    return ceiling


def _joined(text: str, at: int) -> bool:
    """Tell whether `text[at]` belongs to the character before it (most of Unicode's annex 29)."""
    before, after = text[at - 1], text[at]
    if before == _ZWJ or unicodedata.category(after) in ("Mn", "Mc", "Me", "Cf"):
        return True
    if _is_flag_half(before) and _is_flag_half(after):
        return _flag_halves_before(text, at) % 2 == 1
    return "\U0001f3fb" <= after <= "\U0001f3ff"  # a skin tone


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_halves_before(text: str, at: int) -> int:
    start = at
    while start and _is_flag_half(text[start - 1]):
        start -= 1
    return at - start


# ---------------------------------------------------------------- formatting


def _entities(text: str, begin: int, end: int, spans: Iterable[Span]) -> tuple[Entity, ...]:
    inside = (_inside(text, begin, end, span) for span in spans if span.start < end)
    kept = [span for span in inside if span.start < span.end][:MAX_ENTITIES]
    return tuple(_entity(text, begin, span) for span in kept)


def _inside(text: str, begin: int, end: int, span: Span) -> Span:
    """Clip to the message, and to the ink: Telegram drops formatting of white space at the ends."""
    start, stop = max(span.start, begin), min(span.end, end)
    if span.type not in ("pre", "code") or not text[start:stop].strip():
        start = min(_ink(text, start), stop)
        stop = start + len(text[start:stop].rstrip())
    return span._replace(start=start, end=stop)


def _entity(text: str, begin: int, span: Span) -> Entity:
    return Entity(
        type=span.type,
        offset=units(text[begin : span.start]),
        length=units(text[span.start : span.end]),
        url=span.url,
        language=span.language,
    )
