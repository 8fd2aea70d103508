"""Tests of the skills that are shipped: they are an example to authors, so they are clean by the strictest reading."""

from pathlib import Path

import pytest
import yaml

from actors.matching import SkillIndex
from app import skills
from app.llm.offline_extract import extract
from contracts.skills import SkillSummary

LIBRARY = Path(skills.__file__).parent / "library"
FILES = sorted([*LIBRARY.glob("*/SKILL.md"), *LIBRARY.glob("*/info.md")])


def read(file: Path) -> tuple[SkillSummary, str]:
    """A shipped skill by plain YAML, with none of the loader's repairs."""
    _, block, body = file.read_text("utf-8").split("---\n", 2)
    return SkillSummary(**yaml.safe_load(block)), body


CATALOG = tuple(read(file)[0] for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_a_shipped_skill_keeps_the_format(file: Path) -> None:
    """Strict YAML, the folder's name, the format's lengths, a known deployment."""
    summary, body = read(file)
    assert summary.name == file.parent.name
    assert 40 <= len(summary.description) <= 1_024
    assert summary.deployment in {"local", "remote", "both"}
    assert 60 <= len(body.splitlines()) <= 150


def test_both_forms_and_a_resource_are_shipped() -> None:
    """The library shows all that the format offers."""
    assert {file.name for file in FILES} == {"SKILL.md", "info.md"}
    assert (LIBRARY / "trip-planner" / "packing-list.md").is_file()


@pytest.mark.parametrize(
    ("text", "name", "quoted"),
    [
        ("How do I write action items for a meeting?", "meeting-notes", "## Action items"),
        ("Plan a trip: what does the transport cost?", "trip-planner", "## Transport"),
        ("Which bugs should I look for in a code review?", "code-review", "## Bugs to look for"),
        ("A recipe says 4 servings, scale it for 6", "recipe-helper", "## Scale servings"),
        ("Make my email shorter", "email-writer", "## Make it shorter"),
        ("Explain how to study with flashcards", "study-coach", "## Flashcards"),
        ("How do I pay off debts on a small budget?", "budget-check", "## Pay off debts"),
    ],
)
def test_a_natural_question_finds_skill_and_section(text: str, name: str, quoted: str) -> None:
    """Without a key, a question of the kind that users ask is answered by the right part of the right skill."""
    skill = SkillIndex(CATALOG).best(text)
    assert skill is not None
    assert skill.name == name
    body = next(body for summary, body in map(read, FILES) if summary.name == name)
    assert quoted in extract(body, text, 1_500, name)


@pytest.mark.parametrize("text", ["hello", "how are you today?", "what can you do?", "thanks, that was nice"])
def test_small_talk_finds_no_shipped_skill(text: str) -> None:
    """Small talk is left to the model."""
    assert SkillIndex(CATALOG).best(text) is None
