"""What is read from a skill file's frontmatter, and how broken ones are repaired."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.skills.frontmatter import FIELDS, MAX_FRONTMATTER_CHARS, Note, parse_frontmatter
from app.skills.yaml_fields import MAX_ALIASES, MAX_DEPTH, YamlRefused

HONEST = "---\nname: tea\ndescription: Brews tea\n---\n\n# Tea\n\nBoil water.\n"


@pytest.mark.parametrize(
    "text",
    [
        HONEST,
        "\ufeff" + HONEST,
        HONEST.replace("\n", "\r\n"),
        HONEST.replace("\n", "\r"),
        "\n \n" + HONEST,
        HONEST.replace("---\n", "---  \n"),
        HONEST.replace("---\nname", "---\n\nname"),
        HONEST.replace("---\n\n", "...\n\n"),
        HONEST.replace("name:", "Name :").replace("description:", "DESCRIPTION:"),
        HONEST.replace("---\n\n", "license: MIT\nmetadata: {version: 1, tags: [a, b]}\n# done\n---\n\n"),
        HONEST.replace("Brews tea", ">\n  Brews\n  tea\n"),
        HONEST.replace("Brews tea", '"Brews tea"'),
    ],
    ids=str,
)
def test_every_way_to_write_the_same_fields_reads_the_same(text: str) -> None:
    """Line ends, a BOM, blank lines, case and YAML's own forms change nothing and are no fault."""
    read = parse_frontmatter(text)

    assert {key: value.strip() for key, value in read.fields.items()} == {
        "name": "tea",
        "description": "Brews tea",
    }
    assert read.body == "# Tea\n\nBoil water."
    assert read.notes == ()


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        ("name: tea\ndescription: Use when: it rains", {"name": "tea", "description": "Use when: it rains"}),
        ("name: tea\ndescription: [draft", {"name": "tea", "description": "[draft"}),
        ("name: tea\ndescription: 'Don't'", {"name": "tea", "description": "Don't"}),
        ('name: "tea"\ndescription: "a" or: "b"', {"name": "tea", "description": 'a" or: "b'}),
        ("name: tea\ndescription: @home", {"name": "tea", "description": "@home"}),
        ("name: tea\ndescription: a: b\n  and more", {"name": "tea", "description": "a: b and more"}),
        ("\tname: tea\n\tdescription: hot", {"name": "tea", "description": "hot"}),
        ("name: tea\n\tdescription: hot", {"name": "tea", "description": "hot"}),
        (
            "name: tea\n  description: hot\n\tdeployment: local",
            {"name": "tea", "description": "hot", "deployment": "local"},
        ),
        ("description: hot\n\twater: boiled", {"description": "hot water: boiled"}),
        ("description: >\n\thot\n\tname: tea", {"description": "hot name: tea"}),
        ("x:\n\tname: y\nname: tea", {"name": "tea"}),
        ("name: tea\nx:\n\t- y\ndescription: hot", {"name": "tea", "description": "hot"}),
        ("name: tea\ndescription: >\n\thot\n\twater", {"name": "tea", "description": "hot water"}),
        ("name: tea\nnonsense here\ndescription: a: b", {"name": "tea nonsense here", "description": "a: b"}),
        ("name: te\x07a\ndescription: hot", {"name": "te\x07a", "description": "hot"}),
        ("name: tea\ndescription: a: b\ndeployment: 'local'", {"name": "tea", "deployment": "local"}),
    ],
)
def test_a_block_that_is_no_yaml_is_read_line_by_line(block: str, fields: dict[str, str]) -> None:
    """Splitting at the first colon recovers what YAML refuses, and the file's author is told."""
    read = parse_frontmatter(f"---\n{block}\n---\nBody")

    assert {key: read.fields[key] for key in fields} == fields
    assert read.body == "Body"
    assert [note.reason.startswith("frontmatter is no valid YAML") for note in read.notes] == [True]


@pytest.mark.parametrize(
    ("block", "field", "text"),
    [
        ("name: 2024-01-02", "name", "2024-01-02"),
        ("name: 1.10", "name", "1.10"),
        ("name: 0x1F", "name", "0x1F"),
        ("name: yes", "name", "yes"),
        ("name: [a, 2, yes]", "name", "a, 2, yes"),
        ("name: 'null'", "name", "null"),
        ("name: !!python/object/apply:os.system [ls]", "name", "ls"),
        ("a: &x tea\nname: *x", "name", "tea"),
        ("name: one\nname: two", "name", "two"),
    ],
)
def test_a_value_of_any_type_is_the_text_that_stands_there(block: str, field: str, text: str) -> None:
    """Dates, numbers, booleans and tags are never constructed, so they can't be misread or run."""
    assert parse_frontmatter(f"---\n{block}\n---\n").fields[field] == text


@pytest.mark.parametrize("value", ["", "~", "null", "''", "{a: b}", "[]", "*nowhere"])
def test_a_value_without_text_counts_as_not_declared(value: str) -> None:
    """A null, an empty value or a mapping is no name."""
    assert "name" not in parse_frontmatter(f"---\nname: {value}\ndescription: d\n---\n").fields


@pytest.mark.parametrize(
    "text",
    [
        "# Tea\n\nBoil: water.\n\n---\n\nDrink.",
        "---\n\nProse between two rules.\n\n---\n\nMore.",
        "---\n\n# Title under a rule",
        "Just text",
        "----\nname: tea\n----",
    ],
)
def test_a_file_without_frontmatter_is_all_body(text: str) -> None:
    """Rules in a body are no fences."""
    read = parse_frontmatter(text)

    assert (read.fields, read.body) == ({}, text)
    assert read.notes == (Note("no frontmatter", lossy=False),)


@pytest.mark.parametrize(
    ("text", "fields", "body", "reason"),
    [
        (
            "---\nname: tea\n\n# T\nProse.\n\n---\nx",
            {"name": "tea"},
            "# T\nProse.\n\n---\nx",
            "no closing ---",
        ),
        ("---\nname: tea\n# Tea", {"name": "tea"}, "# Tea", "frontmatter has no closing ---"),
        ("---\nname: tea", {"name": "tea"}, "", "frontmatter has no closing ---"),
        (
            "---\n- name: tea\n- description: hot\n---\nx",
            {"name": "tea", "description": "hot"},
            "x",
            "a list",
        ),
        ("---\n- tea\n- hot\n---\nx", {}, "x", "frontmatter is a list, not fields"),
        ("---\nname: a\nname: b\n---\nx", {"name": "b"}, "x", "'name' is declared twice"),
        (
            "---\nname: a\n---\n---\ndescription: d\nname: b\n---\nx",
            {"name": "a", "description": "d"},
            "x",
            "second",
        ),
        (
            "---\nname: a\n---\n\n---\ndescription: d\n---\nx",
            {"name": "a", "description": "d"},
            "x",
            "second",
        ),
        ("---\n---\nx", {}, "x", None),
        ("---\n# nothing\n---\nx", {}, "x", None),
    ],
)
def test_odd_blocks_give_what_they_hold(
    text: str, fields: dict[str, str], body: str, reason: str | None
) -> None:
    """Missing fences, lists, duplicate keys and second blocks lose no field and no body."""
    read = parse_frontmatter(text)

    assert (dict(read.fields), read.body) == (fields, body)
    assert [reason is not None and reason in note.reason for note in read.notes] == [True] * len(read.notes)
    assert bool(read.notes) == (reason is not None)


def test_a_rule_below_the_frontmatter_stays_in_the_body() -> None:
    """Only a block that declares a known field is a second frontmatter."""
    read = parse_frontmatter("---\nname: tea\n---\n---\nNote: mind the gap\n---\nx")

    assert read.body == "---\nNote: mind the gap\n---\nx"
    assert read.notes == ()


def test_a_fence_far_below_is_none() -> None:
    """A rule beyond the bound of a frontmatter does not swallow the body."""
    prose = "word " * MAX_FRONTMATTER_CHARS
    read = parse_frontmatter(f"---\nname: tea\n\n{prose}\n---\nend")

    assert dict(read.fields) == {"name": "tea"}
    assert read.body == f"{prose}\n---\nend"


def bomb(levels: int, width: int) -> str:
    """Give YAML that would expand to width ** levels items."""
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels + 1)]
    return "\n".join([*lines, f"name: *a{levels}"])


@pytest.mark.parametrize(
    "block",
    [
        bomb(levels=9, width=9),
        bomb(levels=MAX_ALIASES + 1, width=1),
        "a: &a x\n" + "\n".join(f"k{n}: *a" for n in range(MAX_ALIASES + 1)),
        "name: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "name: " + "[" * (MAX_FRONTMATTER_CHARS - 100),
        "? " * (MAX_FRONTMATTER_CHARS // 2 - 100),
    ],
)
def test_a_block_that_is_built_to_hurt_is_refused_at_once(block: str) -> None:
    """Alias bombs and deep nesting cost no memory and no stack."""
    with pytest.raises(YamlRefused):
        parse_frontmatter(f"---\n{block}\n---\n")


def test_an_honest_alias_is_followed() -> None:
    """Up to the bound, aliases are no fault."""
    block = "a: &a x\n" + "\n".join(f"k{n}: *a" for n in range(MAX_ALIASES - 1)) + "\nname: *a"
    assert parse_frontmatter(f"---\n{block}\n---\n").fields["name"] == "x"


@given(st.text(alphabet=st.sampled_from("-:\n \t#'\"[]{}&*!|>%@`,?abname\r\x00é\U0001f600"), max_size=300))
def test_no_block_raises_anything_but_a_refusal(block: str) -> None:
    """Whatever stands in a frontmatter, the outcome is fields of text or YamlRefused."""
    try:
        read = parse_frontmatter(f"---\n{block}\n---\nbody")
    except YamlRefused:
        return
    assert set(read.fields) <= set(FIELDS)
    assert all(text.strip() for text in read.fields.values())
