"""Renders a reply's Markdown as the chunks of an outbox; imported by the agent only, for its parser's import time."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec

from app.telegram.markdown import read_markdown
from app.telegram.split import Span, halve, split
from contracts.turns import Chunk

MAX_CHARACTERS: Final = 100_000  # of a reply; about 25 messages, which Telegram lets through in half a minute
MAX_CHUNKS: Final = (
    100  # enough for MAX_CHARACTERS of emoji; more come of heavy formatting, which is dropped then
)
EMPTY: Final = "(The answer was empty.)"
CUT: Final = "(The answer was cut here: it was too long.)"


class MarkdownRenderer:
    """Implements the port `Renderer`."""

    def render(self, markdown: str) -> tuple[Chunk, ...]:
        """Give 1 to MAX_CHUNKS chunks, each 1 to 4096 UTF-16 units of visible text; never raises.

        An empty reply becomes EMPTY; what exceeds MAX_CHARACTERS is left out and CUT says so.
        """
        text, spans = read_markdown(markdown[:MAX_CHARACTERS])
        if len(markdown) > MAX_CHARACTERS or len(text) > MAX_CHARACTERS:
            text, spans = _cut(text, spans)
        chunks = tuple(islice(split(text, spans), MAX_CHUNKS + 1))
        if len(chunks) > MAX_CHUNKS:
            chunks = tuple(split(text, ()))
        return chunks or (Chunk(text=EMPTY),)

    def halve(self, chunk: Chunk) -> tuple[Chunk, ...]:
        """Give the chunk in pieces of at most half its length, or of LEAST_UNITS; none when it is no longer."""
        return halve(chunk)


def plain(chunk: Chunk) -> Chunk:
    """Give the chunk without its formatting, for when Telegram refuses that."""
    return msgspec.structs.replace(chunk, entities=())


def _cut(text: str, spans: Iterable[Span]) -> tuple[str, list[Span]]:
    end = min(len(text), MAX_CHARACTERS)
    inside = [span._replace(end=min(span.end, end)) for span in spans if span.start < end]
    return f"{text[:end]}\n\n{CUT}", inside
