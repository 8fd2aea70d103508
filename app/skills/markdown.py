"""The little that is asked of a skill's Markdown: its first line, and the sections that are kept apart."""

import re
from collections.abc import Iterator
from typing import Final

_HEADING: Final = re.compile(r"(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)$")
_RULE: Final = re.compile(r"[\s\-=*_#`~]*$")


def first_line(body: str) -> str:
    """Give the first line that says something, without heading marks; empty if there is none."""
    for line in body.split("\n"):
        if not _RULE.match(line):
            heading = _HEADING.match(line.strip())
            return (heading[2] or "") if heading else line.strip()
    return ""


def split_sections(body: str, titles: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Cut the `## title` sections (any case) out of `body`; gives what is left, and their text by title.

    A section ends at the next heading of its level or above; headings in fenced code are none.
    """
    wanted = {title.lower(): title for title in titles}
    left: list[str] = []
    sections: dict[str, list[str]] = {title: [] for title in titles}
    target = left
    for line, level, title in _marked_lines(body):
        if 0 < level <= 2:
            found = wanted.get(title.lower()) if level == 2 else None
            target = sections[found] if found else left
            if found:
                continue
        target.append(line)
    return "\n".join(left).strip(), {title: "\n".join(lines).strip() for title, lines in sections.items()}


def _marked_lines(body: str) -> Iterator[tuple[str, int, str]]:
    """Give each line with its heading level (0: none) and title."""
    fence = ""
    for line in body.split("\n"):
        if mark := _FENCE.match(line):
            fence = _next_fence(fence, mark[1], mark[2])
            yield line, 0, ""
            continue
        heading = None if fence else _HEADING.match(line)
        yield (line, len(heading[1]), (heading[2] or "").strip()) if heading else (line, 0, "")


def _next_fence(fence: str, mark: str, info: str) -> str:
    """Open a fence, or close the open one: same sign, at least as long, nothing behind it."""
    if not fence:
        return "" if mark[0] == "`" and "`" in info else mark
    closes = mark[0] == fence[0] and len(mark) >= len(fence) and not info.strip()
    return "" if closes else fence
