"""Cutting a text with formatting into messages."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.telegram.split import LEAST_UNITS, MAX_ENTITIES, MAX_UNITS, Span, halve, is_blank, split, units
from contracts.turns import Button, Chunk, Entity

FAMILY, FLAG, THUMB = "👨‍👩‍👧", "🇩🇪", "👍🏽"
PIECES = [
    "a",
    "word ",
    " ",
    "\n",
    "\n\n",
    "😀",
    FAMILY,
    FLAG,
    THUMB,
    "e\u0301",
    "שלום ",
    "\u200b",
    "    x\n",
    "\u3000",
]


def ink(text: str) -> str:
    """Give what of a text can be seen."""
    return "".join(character for character in text if not is_blank(character))


def slice_of(text: str, entity: Entity) -> str:
    """Give what an entity formats; fails when it cuts a surrogate pair in two."""
    encoded = text.encode("utf-16-le")
    return encoded[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le")


def _formatted(chunks: list[Chunk]) -> str:
    return ink("".join(slice_of(chunk.text, entity) for chunk in chunks for entity in chunk.entities))


def texts() -> st.SearchStrategy[str]:
    """Make texts of up to some ten thousand characters, from runs that are hard to cut."""
    runs = st.tuples(st.sampled_from(PIECES), st.integers(1, 3000)).map(lambda run: run[0] * run[1])
    return st.lists(runs, max_size=5).map("".join)


def check_limits(chunks: list[Chunk]) -> None:
    """Assert that Telegram takes every chunk."""
    for chunk in chunks:
        assert 1 <= units(chunk.text) <= MAX_UNITS
        assert not is_blank(chunk.text)
        assert len(chunk.entities) <= MAX_ENTITIES
        for entity in chunk.entities:
            assert 0 <= entity.offset < entity.offset + entity.length <= units(chunk.text)
            assert slice_of(chunk.text, entity).strip() != ""


def check_whole(text: str, chunks: list[Chunk]) -> None:
    """Assert that the chunks are the text in order, but for white space and the invisible in between."""
    at = 0
    for chunk in chunks:
        start = text.index(chunk.text, at)
        assert is_blank(text[at:start])
        at = start + len(chunk.text)
    assert is_blank(text[at:])


@given(texts())
def test_the_chunks_are_the_text(text: str) -> None:
    """All that can be seen arrives, in order, in messages that Telegram takes."""
    chunks = list(split(text, ()))
    check_limits(chunks)
    check_whole(text, chunks)
    assert ink("".join(chunk.text for chunk in chunks)) == ink(text)


@given(texts(), st.lists(st.tuples(st.integers(0, 9999), st.integers(1, 9999)), max_size=130))
def test_formatting_goes_on_over_a_cut(text: str, ranges: list[tuple[int, int]]) -> None:
    """Disjoint spans format the same ink after the cutting as before it."""
    marks = sorted({min(point, len(text)) for start, length in ranges for point in (start, start + length)})
    spans = [Span(a, b, "bold") for a, b in zip(marks[::2], marks[1::2], strict=False)]
    chunks = list(split(text, spans))
    check_limits(chunks)
    formatted = "".join(slice_of(chunk.text, entity) for chunk in chunks for entity in chunk.entities)
    assert ink(formatted) == ink("".join(text[span.start : span.end] for span in spans))


@given(texts(), st.integers(0, 9999), st.integers(1, 9999))
def test_halves_are_the_chunk(text: str, start: int, length: int) -> None:
    """B4: all of a chunk arrives, in order, in pieces of half its length with the same ink formatted."""
    spans = [Span(start, min(start + length, len(text)), "bold")] if start < len(text) else []
    for chunk in split(text, spans):
        pieces = list(halve(chunk))
        assert (units(chunk.text) > LEAST_UNITS) == bool(pieces)
        if pieces:
            check_limits(pieces)
            check_whole(chunk.text, pieces)
            assert max(units(piece.text) for piece in pieces) <= max(LEAST_UNITS, -(-units(chunk.text) // 2))
            assert _formatted(pieces) == _formatted([chunk])


@pytest.mark.parametrize("url", ["x" * 25_000, "\U0001f600" * 4_000], ids=["long", "long in bytes"])
def test_pieces_outgrow_no_document(url: str) -> None:
    """C7: a link over all of a text is repeated in each piece, but not one that a store could not keep so often."""
    link = Span(0, 32_000, "text_link", f"https://e.org/{url}")
    whole = [*split("wo " * 12_000, [link, Span(0, 32_000, "text_link", "https://e.org/")])]
    older = [
        msgspec.structs.replace(each, entities=(*each.entities, _over(each, link.url))) for each in whole
    ]
    assert {"https://e.org/"} == {entity.url for chunk in whole for entity in chunk.entities}
    pieces = [piece for chunk in older for half in halve(chunk) for piece in halve(half) or [half]]
    assert {"https://e.org/"} == {entity.url for piece in pieces for entity in piece.entities}
    assert len(msgspec.msgpack.encode(pieces)) < 1_048_487


def _over(chunk: Chunk, url: str | None) -> Entity:
    return Entity(type="text_link", offset=0, length=len(chunk.text), url=url)


def test_halves_keep_what_belongs_to_the_chunk() -> None:
    """The buttons stand below the last piece, a link goes on, and each piece is to be sent yet."""
    link = Entity(type="text_link", offset=0, length=1000, url="https://example.org")
    buttons = (Button(text="b", data="d"),)
    chunk = Chunk(text="x" * 1000, entities=(link,), buttons=buttons, state="sending", reason="r")
    half = Entity(type="text_link", offset=0, length=512, url="https://example.org")
    rest = Entity(type="text_link", offset=0, length=488, url="https://example.org")
    assert halve(chunk) == (
        Chunk(text="x" * 512, entities=(half,)),
        Chunk(text="x" * 488, entities=(rest,), buttons=buttons),
    )
    assert halve(Chunk(text="x" * LEAST_UNITS)) == ()


@given(
    st.lists(st.text("abc😀é", min_size=1, max_size=900), max_size=60), st.sampled_from([" ", "\n", "\n\n"])
)
def test_words_stay_whole(words: list[str], gap: str) -> None:
    """A word shorter than a message is never cut."""
    chunks = list(split(gap.join(words), ()))
    assert [word for chunk in chunks for word in chunk.text.split()] == words


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("", []),
        (" \n\u200b\u2800", []),
        ("x", [1]),
        ("x" * 4096, [4096]),
        ("x" * 4097, [4096, 1]),
        ("x" * 100_000, [4096] * 24 + [1696]),
        ("x" * 4095 + "😀", [4095, 2]),
        ("😀" * 2049, [4096, 2]),
        ("x" * 4090 + FAMILY, [4090, 8]),
        ("x" * 4095 + "e\u0301", [4095, 2]),
        ("x" * 4093 + FLAG, [4093, 4]),
        (FLAG * 1025, [4096, 4]),
        ("x" + FLAG * 1024, [4093, 4]),
        ("x" * 4094 + THUMB, [4094, 4]),
        ("e" + "\u0301" * 5000, [4096, 905]),
    ],
    ids=lambda value: f"{len(value)}" if isinstance(value, str) else None,
)
def test_lengths_are_in_utf16_units(text: str, lengths: list[int]) -> None:
    """No surrogate pair is cut, and no character as people see it unless it is endless."""
    assert [units(chunk.text) for chunk in split(text, ())] == lengths


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a" * 3000 + "\n\n" + "b" * 900 + "\n" + "c " * 400, "a" * 3000),
        ("a" * 1000 + "\n\n" + "b" * 2000 + "\n" + "c " * 4000, "a" * 1000 + "\n\n" + "b" * 2000),
        ("a" * 1000 + "\n" + "b " * 3000, "a" * 1000 + "\n" + ("b " * 1548).rstrip()),
        ("a" * 4096 + " b", "a" * 4096),
        ("a " + "b" * 4096, "a"),
    ],
)
def test_a_cut_stands_where_it_reads_best(text: str, first: str) -> None:
    """A blank line before a line's end before a space, as long as the message is half full."""
    assert next(split(text, ())).text == first


def test_a_line_keeps_its_indentation_over_a_cut() -> None:
    """Code that goes on in the next message is still indented, and still code."""
    code = "def f():\n" + "    return 1\n" * 400
    chunks = list(split(code, [Span(0, len(code), "pre", language="python")]))
    assert [chunk.text.splitlines()[0] for chunk in chunks] == ["def f():", "    return 1"]
    assert [
        (entity.offset, entity.length, entity.language) for chunk in chunks for entity in chunk.entities
    ] == [(0, len(chunk.text), "python") for chunk in chunks]


def test_more_than_100_entities_are_spread_over_messages() -> None:
    """Formatting is split rather than dropped."""
    text = "ab " * 250
    chunks = list(split(text, [Span(at, at + 2, "bold") for at in range(0, 750, 3)]))
    assert [len(chunk.entities) for chunk in chunks] == [100, 100, 50]
    check_whole(text, chunks)


def test_more_than_100_entities_at_one_place_lose_the_innermost() -> None:
    """What can't be split is cut to Telegram's limit, and the text arrives."""
    (chunk,) = split("x" * 300, [Span(0, 300 - depth, "bold") for depth in range(150)])
    assert [entity.length for entity in chunk.entities] == [300 - depth for depth in range(100)]


def test_formatting_ends_with_the_ink() -> None:
    """Spans of white space are dropped and others shrink to what they show."""
    (chunk,) = split("a  b \n", [Span(0, 2, "bold"), Span(1, 3, "italic"), Span(2, 6, "underline")])
    assert chunk == Chunk(
        text="a  b",
        entities=(Entity(type="bold", offset=0, length=1), Entity(type="underline", offset=3, length=1)),
    )
