"""The first line and the sections of a skill's body."""

import pytest

from app.skills.markdown import first_line, split_sections


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("# Brewing tea\n\ntext", "Brewing tea"),
        ("### Brewing tea ###\n", "Brewing tea"),
        ("\n\n  Plain words.  \nmore", "Plain words."),
        ("---\n\n***\n# Title", "Title"),
        ("#hashtag first", "#hashtag first"),
        ("##\n\nText", "Text"),
        ("C# for tea\n", "C# for tea"),
        ("", ""),
        ("---\n\n", ""),
    ],
)
def test_first_line_is_the_first_that_says_something(body: str, line: str) -> None:
    """Heading marks, rules and empty lines are no description."""
    assert first_line(body) == line


def split(body: str) -> tuple[str, str, str]:
    """Give what is left, the memory, the error history."""
    left, sections = split_sections(body, ("Memory", "Error History"))
    return left, sections["Memory"], sections["Error History"]


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("# T\n\ntext\n\n## Memory\n\n- a\n\n## Error History\n\n- e", ("# T\n\ntext", "- a", "- e")),
        ("# T\n## Memory\nm\n## Usage\nu", ("# T\n## Usage\nu", "m", "")),
        ("# T\n## memory ##\nm\n### Deep\nd\n# New\nn", ("# T\n# New\nn", "m\n### Deep\nd", "")),
        ("## Memory\na\n## X\nx\n## Memory\nb", ("## X\nx", "a\nb", "")),
        ("```\n## Memory\nm\n```\nt", ("```\n## Memory\nm\n```\nt", "", "")),
        ("~~~~\n```\n~~~\n## Memory\n~~~~\n## Memory\nm", ("~~~~\n```\n~~~\n## Memory\n~~~~", "m", "")),
        ("## Memory\n```\n## Error History\n```\nm", ("", "```\n## Error History\n```\nm", "")),
        ("### Memory\nm\n## Memory leaks\nl", ("### Memory\nm\n## Memory leaks\nl", "", "")),
        ("`` `code` ``\n## Memory\nm", ("`` `code` ``", "m", "")),
        ("", ("", "", "")),
    ],
)
def test_sections_end_at_the_next_heading_and_not_in_code(body: str, parts: tuple[str, str, str]) -> None:
    """Memory and error history leave the body; fenced code and other headings stay where they are."""
    assert split(body) == parts
