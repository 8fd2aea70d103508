"""Finds the parts of a Markdown text that answer a question best, within a number of characters."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from actors.matching import STOP_WORDS, words
from contracts.base import Value

HEADING_WEIGHT: Final = 3.0
"""A heading says what all below it is about."""

STOP_WEIGHT: Final = 0.05
"""A word that stands in any message decides between sections only where nothing else does."""

NEAR_BEST: Final = 0.3
"""A block with less than this share of the best one's score is left out, also where there is room."""

_HEADING: Final = re.compile(r"#{1,6}[ \t]+(.+?)[ \t#]*$")
_FENCE: Final = re.compile(r" {0,3}(```|~~~)")
_STEP: Final = re.compile(r"\s*(?:[-*+]\s|\d+[.)]\s|\|)")
_ROOM_TO_CUT: Final = 80  # characters: a shorter beginning of a block says nothing


class Section(Value, frozen=True):
    """A heading ("" above the first one) and the blocks below it: paragraphs, lists, tables, fenced code."""

    title: str
    heading: str
    blocks: tuple[str, ...]


def extract(body: str, question: str, limit: int, name: str = "") -> str:
    """Give the best sections of `body` in their order, best blocks first to be kept; at most `limit` characters.

    Words of `name` count only when no other is found: all of the text is about them. When nothing is found at
    all: the text's beginning, and what else it has headings for.
    """
    sections = [section for section in sections_of(body) if section.blocks]
    asked, named = set(words(question)), set(words(name))
    scores = _scores(sections, asked - named)
    if not any(map(sum, scores)):
        scores = _scores(sections, asked & named)
    if not any(map(sum, scores)):
        return _beginning(sections, limit)
    chosen = _chosen(sections, scores, limit)
    return _joined(sections, chosen) if chosen else _beginning(sections, limit)


def sections_of(body: str) -> Iterator[Section]:
    """Give the sections of a Markdown text; a `#` within fenced code is no heading."""
    heading, lines, fence = "", list[str](), ""
    for line in body.splitlines():
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        elif not fence and _HEADING.match(line):
            yield _section(heading, lines)
            heading, lines = line, []
            continue
        lines.append(line)
    yield _section(heading, lines)


def _section(heading: str, lines: Sequence[str]) -> Section:
    found = _HEADING.match(heading)
    return Section(found[1] if found else "", heading.rstrip(), tuple(_blocks(lines)))


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Split at blank lines, but keep fenced code whole."""
    block, fence = list[str](), ""
    for line in lines:
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        if line.strip() or fence:
            block.append(line.rstrip())
        elif block:
            yield _flowing(block)
            block = []
    if block:
        yield _flowing([*block, fence] if fence else block)


def _flowing(lines: Sequence[str]) -> str:
    """Join the lines of a paragraph or of a list's item, which a chat would show as broken off; code stays as it is."""
    if any(_FENCE.match(line) for line in lines):
        return "\n".join(lines)
    flowing = [lines[0]]
    for line in lines[1:]:
        if _STEP.match(line) or line.lstrip().startswith(">"):
            flowing.append(line)
        else:
            flowing[-1] += f" {line.strip()}"
    return "\n".join(flowing)


# ---------------------------------------------------------------- choosing


def _scores(sections: Sequence[Section], asked: set[str]) -> list[list[float]]:
    """Score each block of each section: rare words count more, words of the heading count for all below it."""
    told = [_told(section) for section in sections]
    held = Counter(word for section in told for word in asked.intersection(chain(*section)))
    weight = {word: math.log1p(len(sections) / count) for word, count in held.items()}
    scores = [_section_scores(section, weight) for section in told]
    enough = NEAR_BEST * max(chain.from_iterable(scores), default=0.0)
    return [[score if score >= enough else 0.0 for score in section] for section in scores]


def _told(section: Section) -> list[set[str]]:
    """Give the words of the title and of each block; a stop word tells something in a title only ("Say no")."""
    return [set(words(section.title)), *(set(words(block)) - STOP_WORDS for block in section.blocks)]


def _section_scores(told: Sequence[set[str]], weight: dict[str, float]) -> list[float]:
    title, *blocks = (sum(map(_weigher(weight), text)) for text in told)
    return [HEADING_WEIGHT * title + block for block in blocks]


def _weigher(weight: dict[str, float]) -> Callable[[str], float]:
    return lambda word: weight.get(word, 0.0) * (STOP_WEIGHT if word in STOP_WORDS else 1.0)


def _chosen(
    sections: Sequence[Section], scores: Sequence[Sequence[float]], limit: int
) -> dict[int, dict[int, str]]:
    """Take blocks by score while they fit; the first one that has to be cut ends it."""
    best = sorted(
        (
            (-score, at, block)
            for at, section in enumerate(scores)
            for block, score in enumerate(section)
            if score
        ),
    )
    chosen: dict[int, dict[int, str]] = {}
    left = limit
    for _, at, block in best:
        text = sections[at].blocks[block]
        cost = 2 + (0 if at in chosen else len(sections[at].heading) + 2)
        fitting = _fitting(text, left - cost)
        if fitting:
            chosen.setdefault(at, {})[block] = fitting
            left -= len(fitting) + cost
        if fitting and fitting != text:
            break
    return chosen


def _joined(sections: Sequence[Section], chosen: dict[int, dict[int, str]]) -> str:
    return "\n\n".join(_section_text(sections[at], chosen[at]) for at in sorted(chosen))


def _section_text(section: Section, blocks: dict[int, str]) -> str:
    parts = [section.heading] if section.heading else []
    return "\n\n".join([*parts, *(blocks[block] for block in sorted(blocks))])


def _beginning(sections: Sequence[Section], limit: int) -> str:
    if not sections:
        return "This skill has no text yet."
    titles = "; ".join(section.title for section in sections[1:] if section.title)
    more = f"Ask me more about: {titles}." if 0 < len(titles) <= limit // 3 else ""
    opening = sections[:1]
    chosen = _chosen(opening, [[1.0] * len(opening[0].blocks)], limit - len(more) - 2)
    return "\n\n".join(part for part in (_joined(opening, chosen), more) if part) or sections[0].heading


def _fitting(text: str, room: int) -> str:
    """Give the text, or its first lines that fit; "" where so little would fit that it says nothing."""
    if len(text) <= room:
        return text
    if room < _ROOM_TO_CUT or _FENCE.match(text):  # half of a code block is no code
        return ""
    cut = text[: room - 2]
    if _STEP.match(text) and "\n" in cut:
        whole_lines, _ = cut.rsplit("\n", 1)
        return f"{whole_lines.rstrip()}\n…"
    return f"{cut.rsplit(' ', 1)[0].rstrip()}…"
