"""Reads Markdown into a text and its formatting; whatever the library can't read stays as it was written."""

import encodings.utf_16_le  # noqa: F401 - all measuring needs it, and else the first reply would import it
import re
from collections.abc import Iterable, Iterator
from typing import Final

from telegramify_markdown import MessageEntity, RenderConfig, convert

from app.telegram.split import Span, index_of_units, is_blank

_TYPES: Final = frozenset(
    {"bold", "italic", "underline", "strikethrough", "code", "pre", "text_link", "blockquote"}
)
_LINK: Final = re.compile(r"(?:https?|tg)://\S+\Z", re.IGNORECASE)  # Telegram drops any other
_LANGUAGE: Final = re.compile(r"[\w+#.-]{1,32}\Z")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_CONTROLS: Final = {code: " " for code in range(32) if code not in (9, 10)}  # as Telegram shows them

# Stand-ins, one code unit each, for what the library would drop or choke on: `<` opens HTML, which it leaves
# out of the text; `||` a spoiler, for which its search takes exponential time; `$` mathematics.
_HTML, _BAR, _DOLLAR = "\ufdd0", "\ufdd1", "\ufdd2"
_UNSHIELD: Final = str.maketrans({_HTML: "<", _BAR: "|", _DOLLAR: "$"})
_NOT_TEXT: Final = re.compile(f"[{_HTML}{_BAR}{_DOLLAR}]")

# The library's time or its text grows with the square of these (measured with 100,000 characters: 20 s, 1 GB).
_MATHS_CHARACTERS: Final = 16_000
_MATHS_MARKS: Final = 200
_TOO_NESTED: Final = re.compile(r"^[ \t]*(?:>[ \t]*|[-*+][ \t]+|\d{1,9}[.)][ \t]+){17}", re.MULTILINE)
_TABLE_RULE: Final = re.compile(r"^(?=.*-)[ \t>:-]*\|[ \t>|:-]*$", re.MULTILINE)
_BETWEEN_BLOCKS: Final = re.compile(r"\n[ \t>]*\n")
_BETWEEN_CELLS: Final = re.compile(r"(?<!\\)\|")
_TABLE_CHARACTERS: Final = 500_000
_FENCES: Final = 2_000


def read_markdown(markdown: str) -> tuple[str, list[Span]]:
    """Give the text to show and its spans, sorted by start; never raises.

    HTML is shown as written. Text that is too nested, has too large a table, or makes the library fail is
    given unformatted. Lone surrogates become U+FFFD, control characters spaces.
    """
    source = _clean(markdown)
    if _is_too_much(source):
        return source, []
    maths = _reads_maths(source)
    try:
        text, entities = convert(_shield(source, maths), latex_escape=maths, config=_config())
    except Exception:  # noqa: BLE001 - whatever a parser of free text trips over, the reader gets the text
        return source, []
    if is_blank(text):  # such as a lone fence with its language
        return source, []
    return text.translate(_UNSHIELD), _merged(_spans(text, entities))


def _clean(markdown: str) -> str:
    text = _NOT_TEXT.sub("\ufffd", _LONE_SURROGATE.sub("\ufffd", markdown))
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)


def _shield(source: str, maths: bool) -> str:
    text = source.replace("<", _HTML).replace("||", "|" + _BAR)
    text = text if maths else text.replace("$", _DOLLAR)
    return "\n".join(_fitted(text.split("\n"))) if _TABLE_RULE.search(text) else text


def _fitted(lines: Iterable[str]) -> Iterator[str]:
    """Make the cells that a row has too many part of its last: Markdown leaves them out of the table."""
    columns = 0
    for line in lines:
        if _TABLE_RULE.match(line):
            columns = len(line.strip(" \t>").strip("|").split("|"))
        elif not line.strip(" \t>"):
            columns = 0
        yield _fit(line, columns) if columns else line


def _fit(row: str, columns: int) -> str:
    cells = _BETWEEN_CELLS.split(row)
    last = columns - 1 + (not cells[0].strip(" \t>"))  # a row may begin with its first bar
    end = len(cells) - (not cells[-1].strip())  # and end with one
    return "|".join([*cells[:last], _BAR.join(cells[last:end]), *cells[end:]]) if end > last + 1 else row


def _config() -> RenderConfig:
    config = RenderConfig.isolated()
    config.cite_expandable = False
    symbol = config.markdown_symbol
    symbol.heading_level_1 = symbol.heading_level_2 = symbol.heading_level_3 = symbol.heading_level_4 = ""
    symbol.unordered_list_item = "•"
    symbol.task_completed, symbol.task_uncompleted = "☑", "☐"
    return config


# ---------------------------------------------------------------- what is too much


def _reads_maths(source: str) -> bool:
    """Only in short texts, and not beside a table: from a cell the library puts mathematics before the table."""
    marks = source.count("$") + source.count("\\(") + source.count("\\[")
    few = marks <= _MATHS_MARKS and len(source) <= _MATHS_CHARACTERS
    return few and not _TABLE_RULE.search(source)


def _is_too_much(source: str) -> bool:
    if source.count("```") + source.count("~~~") > _FENCES or _TOO_NESTED.search(source):
        return True
    blocks = _BETWEEN_BLOCKS.split(source) if "|" in source else []
    return any(_table_size(block) > _TABLE_CHARACTERS for block in blocks if _TABLE_RULE.search(block))


def _table_size(block: str) -> int:
    """Give the characters of the block as a table, every cell as wide as its column's widest."""
    rows = block.replace("\\|", "--").split("\n")
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in enumerate(row.split("|")):
            widths[column] = max(widths.get(column, 0), len(cell) + 3)
    return len(rows) * sum(widths.values())


# ---------------------------------------------------------------- formatting


def _spans(text: str, entities: Iterable[MessageEntity]) -> list[Span]:
    index = index_of_units(text)
    spans = [_span(index(entity.offset), index(entity.offset + entity.length), entity) for entity in entities]
    return sorted(filter(_is_known, spans), key=lambda span: (span.start, -span.end))


def _span(start: int, end: int, entity: MessageEntity) -> Span:
    url = entity.url.translate(_UNSHIELD) if entity.url else None
    language = entity.language if entity.language and _LANGUAGE.match(entity.language) else None
    return Span(start, end, entity.type, url, language)


def _is_known(span: Span) -> bool:
    if span.type == "text_link":
        return span.url is not None and _LINK.match(span.url) is not None
    return span.type in _TYPES


def _merged(spans: list[Span]) -> list[Span]:
    """Leave out what lies within its like (bold in bold, a quote in a quote): Telegram has no levels."""
    reach: dict[str, int] = {}
    kept = []
    for span in spans:
        if span.end > reach.get(span.type, 0):
            kept.append(span._replace(start=max(span.start, reach.get(span.type, 0))))
            reach[span.type] = span.end
    return kept
