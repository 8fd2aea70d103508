"""Rendering a reply's Markdown: what is formatted, and that its text arrives whatever it looks like."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.telegram.render import CUT, EMPTY, MAX_CHARACTERS, MAX_CHUNKS, MarkdownRenderer, plain
from app.telegram.split import MAX_ENTITIES, MAX_UNITS, units
from contracts.turns import Chunk, Entity

render = MarkdownRenderer().render


def shown(markdown: str) -> list[tuple[str, str]]:
    """Give the only chunk's text after ("text", ...), then each entity's type and what it formats."""
    (chunk,) = render(markdown)
    encoded = chunk.text.encode("utf-16-le")
    ranges = [(entity.type, 2 * entity.offset, 2 * entity.length) for entity in chunk.entities]
    return [("text", chunk.text)] + [
        (kind, encoded[at : at + size].decode("utf-16-le")) for kind, at, size in ranges
    ]


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("hello", [("text", "hello")]),
        ("👍 **bold _both_** x", [("text", "👍 bold both x"), ("bold", "bold both"), ("italic", "both")]),
        ("# Title\nx", [("text", "Title\nx"), ("underline", "Title"), ("bold", "Title")]),
        ("~~old~~ `a < b`", [("text", "old a < b"), ("strikethrough", "old"), ("code", "a < b")]),
        ("- a\n- b\n  1. c", [("text", "• a\n• b\n  1. c")]),
        ("```\na || b <c> $d\n```", [("text", "a || b <c> $d"), ("pre", "a || b <c> $d")]),
        ("````\n```\nx\n```\n````", [("text", "```\nx\n```"), ("pre", "```\nx\n```")]),
        ("|a|b|\n|-|-|\n|1|22|", [("text", "a | b \n--+---\n1 | 22"), ("pre", "a | b \n--+---\n1 | 22")]),
        (
            "|a|b|\n|-|-|\n|1|2|3|4|",
            [("text", "a | b    \n--+------\n1 | 2|3|4"), ("pre", "a | b    \n--+------\n1 | 2|3|4")],
        ),
        ("a|b\n-|-\n1|2|3", [("text", "a | b  \n--+----\n1 | 2|3"), ("pre", "a | b  \n--+----\n1 | 2|3")]),
        ("|a|\n|-|\n|$x$|", [("text", "a  \n---\n$x$"), ("pre", "a  \n---\n$x$")]),
        ("so $\\alpha$", [("text", "so α"), ("code", "α")]),
        ("> a\n> > b", [("text", "a\nb"), ("blockquote", "a\nb")]),
        ("<b>bold</b> <!-- x -->", [("text", "<b>bold</b> <!-- x -->")]),
        ("<div>\nin a block\n</div>", [("text", "<div>\nin a block\n</div>")]),
        ("a || b || c", [("text", "a || b || c")]),
        ("it costs $5 or $6", [("text", "it costs $5 or $6")]),
        ("**שלום** عالم", [("text", "שלום عالم"), ("bold", "שלום")]),
        ("[x](/relative) [y](javascript:z)", [("text", "x y")]),
        ("**__a__ b**", [("text", "a b"), ("bold", "a b")]),
        ("a\x00b\x1bc\r\nd", [("text", "a b c\nd")]),
        ("half \ud83d pair \ufdd0", [("text", "half \ufffd pair \ufffd")]),
        ("```lonely fence", [("text", "```lonely fence")]),
    ],
)
def test_markdown_becomes_text_and_entities(markdown: str, expected: list[tuple[str, str]]) -> None:
    """Formatting is shown as Telegram can, and nothing of the text is lost to it."""
    assert shown(markdown) == expected


def test_links_and_languages_are_carried() -> None:
    """A link keeps its address and a block of code its language, if Telegram takes them."""
    (chunk,) = render("[here](https://x.org/?a<b)\n\n```py\n1\n```\n\n```two words\n2\n```")
    assert [(entity.type, entity.url, entity.language) for entity in chunk.entities] == [
        ("text_link", "https://x.org/?a<b", None),
        ("pre", None, "py"),
        ("pre", None, None),
    ]


@pytest.mark.parametrize("markdown", ["", " ", "\n\n", "\u200b\u2800"])
def test_an_empty_reply_says_so(markdown: str) -> None:
    """Telegram takes no empty message, and the reader is told instead."""
    assert render(markdown) == (Chunk(text=EMPTY),)


@pytest.mark.parametrize("length", [1, 4096, 4097, 100_000])
def test_no_length_is_lost(length: int) -> None:
    """Up to the bound, all characters arrive."""
    assert "".join(chunk.text for chunk in render("x" * length)) == "x" * length


@pytest.mark.parametrize(
    "markdown",
    [
        "word " * 30_000,
        "x" * 100_001,
        "😀" * 200_000,
        "**word** " * 20_000,
        "|a|b|\n|-|-|\n" + "|c|d|\n" * 40_000,
    ],
)
def test_a_reply_beyond_the_bound_says_that_it_is_cut(markdown: str) -> None:
    """What is left out is not left out silently, and messages stay few enough to be sent."""
    chunks = render(markdown)
    assert len(chunks) <= MAX_CHUNKS
    assert chunks[-1].text.endswith(CUT)
    assert sum(len(chunk.text) for chunk in chunks) <= MAX_CHARACTERS + len(CUT) + 2


def test_the_notice_of_the_cut_is_not_formatted() -> None:
    """A cut inside code does not make the notice code."""
    last = render("```\n" + "x\n" * 60_000)[-1]
    assert last.text.endswith(CUT)
    assert [(entity.type, entity.offset + entity.length) for entity in last.entities] == [
        ("pre", units(last.text) - len(CUT) - 2)
    ]


def test_formatting_that_needs_too_many_messages_is_dropped() -> None:
    """Text comes before formatting: 25,000 bold letters are sent plain."""
    chunks = render("*a* " * 25_000)
    assert len(chunks) <= MAX_CHUNKS
    assert [chunk.entities for chunk in chunks] == [()] * len(chunks)
    assert "".join(chunk.text for chunk in chunks).count("a") == 25_000


@pytest.mark.parametrize(
    "markdown",
    [
        "||a\n" + "> " * 40 + "b||",
        "||a\n" + "> \n" * 40 + "b||",
        "$" * 100_000,
        "\\(" * 50_000,
        "$\\alpha" + "\\sqrt[" * 15_000 + "$",
        "\\(\\alpha" + "\\frac{" * 2_000 + "\\)",
        "1. " * 33_000,
        ">" * 100_000,
        "```\n" * 25_000,
        "|" + "a" * 50_000 + "|b|\n|-|-|\n" + "|c|d|\n" * 8_000,
        "|a" * 20_000 + "|\n" + "|-" * 20_000 + "|\n" + "|b|\n" * 4_000,
    ],
    ids=lambda markdown: repr(markdown[:12]),
)
def test_what_would_take_a_parser_minutes_or_gigabytes_is_sent_plain(markdown: str) -> None:
    """No reply stops the agent; the library alone needs 20 s, 1 GB or for ever with these."""
    chunks = render(markdown)
    assert 1 <= len(chunks) <= MAX_CHUNKS
    assert sum(len(chunk.text) for chunk in chunks) <= MAX_CHARACTERS + len(CUT) + 2


FORMS = [
    "{} ", "**{}** ", "_{}_ ", "`{}` ", "~~{}~~ ", "||{}|| ", "<b>{}</b> ", "<div>{}\n", "\n# {}\n", "\n- {}\n",
    "\n  - {}\n", "\n> {}\n", "\n> > {}\n", "\n```\n{}\n```\n", "\n```py\n{}\n", "\n\n    {}\n",
    "\n|{}|b|\n|-|-|\n|c|d|\n",
    "[{}](https://x.org) ", "![{}](https://x.org) ", "**{} ", "`{} ", "$x {}$ ", "\\({}\\) ", "\n1. {}\n", "😀{} ",
    "\u202e{} ", "&lt;{} ", "\\{} ", "* {}\n", "{}\n===\n", "{}\n---\n", "<{} ", "<!-- {} ", "{}\n\n",
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(FORMS), st.integers(1, 900)), max_size=60))
def test_every_word_of_any_markdown_arrives_in_order(parts: list[tuple[str, int]]) -> None:
    """Whatever forms surround and interrupt one another, no word is lost, moved or doubled."""
    words = [f"w{index}" + "x" * length for index, (_, length) in enumerate(parts)]
    chunks = render("".join(form.format(word) for (form, _), word in zip(parts, words, strict=True)))
    text = " ".join(chunk.text for chunk in chunks)
    assert re.findall(r"w\d+x+", text) == words
    for chunk in chunks:
        assert 1 <= units(chunk.text) <= MAX_UNITS
        assert len(chunk.entities) <= MAX_ENTITIES
        assert all(
            0 <= entity.offset < entity.offset + entity.length <= units(chunk.text)
            for entity in chunk.entities
        )


@given(st.text() | st.text("*_`~|<>[]()!#-+.$\\ \n\t0a😀&;:=^{}\"'"))
def test_any_text_is_rendered(markdown: str) -> None:
    """Rendering never fails, and what comes of it can be sent."""
    for chunk in render(markdown):
        assert 1 <= units(chunk.text) <= MAX_UNITS
        assert all(
            0 <= entity.offset < entity.offset + entity.length <= units(chunk.text)
            for entity in chunk.entities
        )


def test_plain_is_the_same_chunk_without_formatting() -> None:
    """When Telegram refuses the entities, the text is sent as it stands."""
    chunk = Chunk(text="a", entities=(Entity(type="bold", offset=0, length=1),))
    assert plain(chunk) == Chunk(text="a")


def test_the_gateway_does_not_import_the_parser() -> None:
    """Only who renders pays for the Markdown parser's import."""
    code = (
        "import sys, app.telegram.updates, app.telegram.client; print('telegramify_markdown' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout.strip() == "False"
