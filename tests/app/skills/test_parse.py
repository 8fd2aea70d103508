"""What becomes of one skill file's bytes."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.skills.parse import (
    MAX_DESCRIPTION_CHARS,
    MAX_NAME_CHARS,
    ParsedSkill,
    SkillRefused,
    digest_of,
    one_line,
    parse_skill,
)


def parse(raw: bytes | str, *, path: str = "tea/SKILL.md") -> ParsedSkill:
    """Parse the bytes as the file of the folder `tea`."""
    return parse_skill(raw.encode() if isinstance(raw, str) else raw, path=path, folder="tea")


def test_declared_fields_are_kept() -> None:
    """A well-formed file gives what it declares, with nothing to tell its author."""
    parsed = parse("---\nname: Green Tea\ndescription: Brews\ndeployment: both\n---\n# How\n\nBoil.")
    summary = parsed.skill.summary

    assert (summary.name, summary.description, summary.deployment) == ("Green Tea", "Brews", "both")
    assert (summary.path, parsed.skill.folder, parsed.skill.body) == ("tea/SKILL.md", "tea", "# How\n\nBoil.")
    assert parsed.notes == ()


def test_without_frontmatter_the_folder_names_and_the_first_line_describes() -> None:
    """A plain Markdown file is a skill; no text of it is lost, so the notes are only warnings."""
    parsed = parse("# Brewing tea\n\nBoil.")
    summary = parsed.skill.summary

    assert (summary.name, summary.description, summary.deployment) == ("tea", "Brewing tea", "remote")
    assert parsed.skill.body == "# Brewing tea\n\nBoil."
    assert [note.lossy for note in parsed.notes] == [False] * 3


@pytest.mark.parametrize(
    ("declared", "deployment", "notes"),
    [
        ("local", "local", 0),
        ("BOTH ", "both", 0),
        ("''", "remote", 0),
        ("cloud", "remote", 1),
        ("[a]", "remote", 1),
    ],
)
def test_deployment_is_one_of_three(declared: str, deployment: str, notes: int) -> None:
    """Undeclared and unknown places become `remote`; an unknown one is told."""
    parsed = parse(f"---\nname: a\ndescription: b\ndeployment: {declared}\n---\n")

    assert parsed.skill.summary.deployment == deployment
    assert len(parsed.notes) == notes


@pytest.mark.parametrize(
    ("field", "limit"), [("name", MAX_NAME_CHARS), ("description", MAX_DESCRIPTION_CHARS)]
)
@pytest.mark.parametrize("over", [0, 1, 1000])
def test_too_long_a_field_is_cut_and_the_skill_kept(field: str, limit: int, over: int) -> None:
    """The bound itself is within; beyond it the text is cut there."""
    other = "description" if field == "name" else "name"
    parsed = parse(f"---\n{other}: x\n{field}: {'é' * (limit + over)}\n---\n")

    assert getattr(parsed.skill.summary, field) == "é" * limit
    assert [note.lossy for note in parsed.notes] == [True] * bool(over)


def test_without_any_name_the_file_is_refused() -> None:
    """A skill that nobody could ask for is none."""
    with pytest.raises(SkillRefused, match="neither the file nor its folder has a name"):
        parse_skill(b"# Tea", path=" /SKILL.md", folder=" ")


def test_a_long_first_line_is_cut_too() -> None:
    """The derived description has the declared one's bound."""
    assert parse("y" * 5000).skill.summary.description == "y" * MAX_DESCRIPTION_CHARS


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb", "a b"), (" a \t b\r\n", "a b"), ("a\x00\x1bb", "a b"), ("a\u2028b", "a b"), ("a\ud800b", "ab")],
)
def test_one_line_is_one_line(text: str, line: str) -> None:
    """Names and descriptions hold no control characters, line ends or lone surrogates."""
    assert one_line(text) == line


def test_escapes_in_yaml_cannot_smuggle_controls() -> None:
    """A NUL or newline written as a YAML escape is a space."""
    summary = parse('---\nname: "a\\0b"\ndescription: "c\\nd\\x1b[31m"\n---\n').skill.summary
    assert (summary.name, summary.description) == ("a b", "c d [31m")


@pytest.mark.parametrize(
    ("raw", "description", "lossy"),
    [
        ("Tee für zwei".encode(), "Tee für zwei", None),
        (codecs.BOM_UTF8 + "Tee für zwei".encode(), "Tee für zwei", None),
        ("Tee für zwei".encode("latin-1"), "Tee für zwei", True),
        ("Tee für zwei".encode("utf-16"), "Tee für zwei", False),
        (codecs.BOM_UTF16_BE + "Tee".encode("utf-16-be"), "Tee", False),
    ],
)
def test_encodings(raw: bytes, description: str, lossy: bool | None) -> None:
    """UTF-8 passes, Latin-1 is a guess that the author hears of, UTF-16 is known by its mark."""
    parsed = parse(raw)
    told = [note.lossy for note in parsed.notes if "UTF" in note.reason]

    assert parsed.skill.summary.description == description
    assert told == ([] if lossy is None else [lossy])


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty file"),
        (b" \r\n\t\n", "empty file"),
        (b"---\nname: a\n---\nab\0c", "binary: a NUL byte at 18"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary: a NUL byte at 8"),
        (bytes(range(1, 256)) * 4, "binary: too many control characters"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8x", "binary: neither UTF-8 nor UTF-16"),
        (codecs.BOM_UTF16_LE + b"a\0\0\0", "binary: a NUL character in UTF-16 text"),
        (b"---\nname: " + b"[" * 99 + b"\n---\n", "frontmatter is nested deeper than 32"),
    ],
)
def test_what_is_no_text_is_refused_with_the_reason(raw: bytes, reason: str) -> None:
    """A file that can't be a skill says why in one line."""
    with pytest.raises(SkillRefused) as refused:
        parse(raw)
    assert str(refused.value) == reason


@pytest.mark.parametrize("path", ["tea/info.md", "tea/INFO.MD"])
def test_only_info_files_have_sections_kept_apart(path: str) -> None:
    """In the `info.md` form memory and errors leave the body; in SKILL.md they are text like any other."""
    text = "# T\n\n## Memory\nm\n\n## Error History\ne"
    info, plain = parse(text, path=path).skill, parse(text).skill

    assert (info.body, info.memory, info.error_history) == ("# T", "m", "e")
    assert (plain.body, plain.memory, plain.error_history) == (text, "", "")


def test_the_digest_changes_with_every_part_of_an_answer_and_with_nothing_else() -> None:
    """Two files that differ in anything that is answered differ in the digest; equal ones do not."""
    head = "---\nname: a\ndescription: b\n---\n"
    variants = [
        head,
        head.replace("a", "c", 1),
        head.replace(": b", ": c"),
        head.replace("b\n", "b\ndeployment: both\n"),
        head + "body",
    ]
    digests = [digest_of(parse(text + " ").skill) for text in variants]

    assert len(set(digests)) == len(variants)
    assert digest_of(parse(head + "# one\n").skill) == digest_of(parse(head + "\r\n# one").skill)


@given(st.binary(max_size=400) | st.binary(max_size=300).map(lambda tail: b"---\nname: " + tail))
def test_any_bytes_are_a_skill_or_refused(raw: bytes) -> None:
    """Nothing but SkillRefused leaves the parser, and names and descriptions keep their bounds."""
    try:
        summary = parse(raw).skill.summary
    except SkillRefused:
        return
    assert 0 < len(summary.name) <= MAX_NAME_CHARS
    assert len(summary.description) <= MAX_DESCRIPTION_CHARS
    assert "\n" not in summary.name + summary.description
    digest_of(parse(raw).skill)
