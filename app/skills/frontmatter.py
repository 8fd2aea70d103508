"""Splits a skill file into its declared fields and its body, and repairs what authors get wrong."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

from app.skills.yaml_fields import YamlBroken, YamlFields
from contracts.base import Value

FIELDS: Final = ("name", "description", "deployment")
"""The fields that mean something to Firstlight; others are passed over."""

MAX_FRONTMATTER_CHARS: Final = 16_384
"""Ten times what the largest honest block needs; it bounds the time that a hostile one can take."""

_FENCE: Final = "---"
_FIELD_LINE: Final = re.compile(r"([A-Za-z_][\w-]*)[ \t]*:(?:[ \t]+(.*))?$")
_BLOCK_MARKS: Final = frozenset({"|", ">", "|-", ">-", "|+", ">+"})


class Note(Value, frozen=True):
    """What was repaired; `lossy` if something was guessed or left out."""

    reason: str
    lossy: bool = True


class Frontmatter(Value, frozen=True):
    """The fields of FIELDS that were declared and are not empty, the body below them, what was repaired."""

    fields: Mapping[str, str]
    body: str
    notes: tuple[Note, ...] = ()


class _Block(Value, frozen=True):
    lines: Sequence[str]
    rest: Sequence[str]
    closed: bool = True


def parse_frontmatter(text: str) -> Frontmatter:
    """Split `text` (any line ends, with or without a BOM); raises YamlRefused for a block built to hurt."""
    lines = _lines(text)
    block = _find_block(lines)
    if block is None:
        return Frontmatter({}, _join(lines), (Note("no frontmatter", lossy=False),))
    read = _read_block(block)
    if read is None:  # two rules with prose between them
        return Frontmatter({}, _join(lines), (Note("no frontmatter", lossy=False),))
    fields, notes = read
    fields, rest, more = _merge_second_block(fields, block.rest)
    return Frontmatter({key: fields[key] for key in FIELDS if key in fields}, _join(rest), (*notes, *more))


def _lines(text: str) -> list[str]:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = next((index for index, line in enumerate(lines) if line.strip()), len(lines))
    return lines[first:]


def _join(lines: Sequence[str]) -> str:
    return "\n".join(lines).strip()


def _find_block(lines: Sequence[str]) -> _Block | None:
    if not lines or lines[0].rstrip() != _FENCE:
        return None
    size = 0
    for index, line in enumerate(lines[1:], start=1):
        if line.rstrip() in (_FENCE, "..."):
            closed = _Block(lines[1:index], lines[index + 1 :])
            return _unclosed_block(lines) if _holds_prose(closed.lines) else closed
        size += len(line) + 1
        if size > MAX_FRONTMATTER_CHARS:
            break
    return _unclosed_block(lines)


def _holds_prose(block: Sequence[str]) -> bool:
    """Whether text follows the last field after a blank line: then the fence is a rule in the body."""
    fields = [index for index, line in enumerate(block) if _FIELD_LINE.match(line)]
    after = block[fields[-1] :] if fields else ()
    blank = next((index for index, line in enumerate(after) if not line.strip()), len(after))
    return any(line.strip() and not line.startswith((" ", "\t", "#", "- ")) for line in after[blank:])


def _unclosed_block(lines: Sequence[str]) -> _Block | None:
    """Take the lines that look like fields, up to the first that does not."""
    start = next((index for index, line in enumerate(lines[1:], start=1) if line.strip()), len(lines))
    end, size = start, 0
    while end < len(lines) and _belongs_to_fields(lines[end], first=end == start):
        size += len(lines[end]) + 1
        if size > MAX_FRONTMATTER_CHARS:
            break
        end += 1
    return _Block(lines[start:end], lines[end:], closed=False) if end > start else None


def _belongs_to_fields(line: str, *, first: bool) -> bool:
    if _FIELD_LINE.match(line):
        return True
    return not first and bool(line.strip()) and line.startswith((" ", "\t", "- "))


def _read_block(block: _Block) -> tuple[dict[str, str], tuple[Note, ...]] | None:
    """Give the block's fields, or None if it declares nothing that could be one."""
    text = "\n".join(block.lines)
    notes = () if block.closed else (Note("frontmatter has no closing ---"),)
    try:
        found = YamlFields(text)
    except YamlBroken as error:
        guessed = _guess_fields(text)
        broken = Note(f"frontmatter is no valid YAML ({error}): read line by line")
        return (guessed, (*notes, broken)) if guessed else None
    texts = found.texts()
    if texts is None:
        return ({}, notes) if not text.strip() else _read_odd_block(text, found, notes)
    return dict(texts), (*notes, *_yaml_notes(found))


def _read_odd_block(
    text: str, found: YamlFields, notes: tuple[Note, ...]
) -> tuple[dict[str, str], tuple[Note, ...]] | None:
    """A block without a mapping: only comments, a list of words, or no frontmatter at all."""
    if found.is_list:
        return {}, (*notes, Note("frontmatter is a list, not fields"))
    if all(line.lstrip().startswith("#") or not line.strip() for line in text.split("\n")):
        return {}, notes
    return None


def _yaml_notes(found: YamlFields) -> tuple[Note, ...]:
    notes = [Note(f"{key!r} is declared twice: the last one counts") for key in dict.fromkeys(found.repeated)]
    if found.is_list:
        notes.append(Note("frontmatter is a list: its items were read as fields"))
    return tuple(notes)


def _guess_fields(text: str) -> dict[str, str]:
    """Split at each line's first colon; a field that is YAML by itself is read as such."""
    chunks: dict[str, list[str]] = {}
    current: list[str] = []
    for line in textwrap.dedent(text.expandtabs(2)).split("\n"):
        line = line.lstrip() if _slipped(line, current) else line
        if found := _FIELD_LINE.match(line):
            current = chunks.setdefault(found[1].lower(), [])
            current.clear()
        if not line.startswith("#"):
            current.append(line)
    guessed = {key: _guess_field(key, lines) for key, lines in chunks.items() if key in FIELDS}
    return {key: text for key, text in guessed.items() if text}


def _slipped(line: str, current: Sequence[str]) -> bool:
    """Whether one of our fields is indented by mistake, below a field whose value is whole on its own line."""
    field, above = _FIELD_LINE.match(line.lstrip()), current[0].partition(":")[2].strip() if current else ""
    whole = above and above not in _BLOCK_MARKS and (above[0] not in "\"'[{" or above[-1] in "\"']}")
    return bool(whole and field and field[1].lower() in FIELDS)


def _guess_field(key: str, lines: Sequence[str]) -> str:
    try:
        texts = YamlFields("\n".join(lines)).texts() or {}
    except YamlBroken:
        return _unquote(_fold(lines))
    return texts.get(key, "")


def _fold(lines: Sequence[str]) -> str:
    first = lines[0].partition(":")[2].strip()
    rest = [line.strip() for line in lines[1:]]
    return " ".join(part for part in ("" if first in _BLOCK_MARKS else first, *rest) if part)


def _unquote(text: str) -> str:
    for quote in ('"', "'"):
        if len(text) > 1 and text.startswith(quote) and text.endswith(quote):
            return text[1:-1]
    return text.strip("\"'") if text[:1] in "\"'" else text


def _merge_second_block(
    fields: dict[str, str], rest: Sequence[str]
) -> tuple[dict[str, str], Sequence[str], tuple[Note, ...]]:
    """Read a second block right below the first; it adds fields, and a rule in the body stays one."""
    start = next((index for index, line in enumerate(rest) if line.strip()), len(rest))
    block = _find_block(rest[start:])
    if block is None or not block.closed or not _declares_a_field(block.lines):
        return fields, rest, ()
    read = _read_block(block)
    if read is None:
        return fields, rest, ()
    added, notes = read
    return {**added, **fields}, block.rest, (Note("a second frontmatter block: the first one counts"), *notes)


def _declares_a_field(lines: Sequence[str]) -> bool:
    found = (_FIELD_LINE.match(line) for line in lines)
    return any(match and match[1].lower() in FIELDS for match in found)
