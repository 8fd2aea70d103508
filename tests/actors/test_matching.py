"""Tests of choosing a skill by the words of a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.matching import SkillIndex, words
from contracts.skills import SkillSummary

SKILLS = tuple(
    SkillSummary(name=name, description=description)
    for name, description in {
        "meeting-notes": "Turn a meeting or call into minutes with decisions and action items.",
        "trip-planner": "Plan a holiday or journey: itinerary, transport, packing.",
        "code-review": "Review a diff or pull request and find bugs and missing tests.",
        "recipe-helper": "Suggest recipes, scale servings, cook with what is there.",
        "email-writer": "Draft, shorten or soften an email or letter.",
        "budget-check": "Check household expenses, savings and debts.",
        "Café-Führer": "Gute Cafés in der Stadt finden.",
        "翻訳": "日本語の文章を英語に翻訳する",
    }.items()
)


def chosen(text: str) -> str | None:
    """The name of the skill that is chosen."""
    skill = SkillIndex(SKILLS).best(text)
    return skill.name if skill else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("summarise my meeting", "meeting-notes"),
        ("MEETINGS!!!", "meeting-notes"),
        ("notes please", "meeting-notes"),
        ("use the trip planner", "trip-planner"),
        ("How do I cook rice?", "recipe-helper"),
        ("Recipe for lentil soup", "recipe-helper"),
        ("please look at this diff", "code-review"),
        ("write an email to my landlord about the heating", "email-writer"),
        ("Can I pay off my debts with 200 a month?", "budget-check"),
        ("wo ist ein gutes CAFE", "Café-Führer"),
        ("Cafe\u0301?", "Café-Führer"),
        ("この文章を翻訳して", "翻訳"),
        ("email " + "lorem ipsum dolor " * 300, "email-writer"),
    ],
)
def test_a_message_finds_its_skill(text: str, expected: str) -> None:
    """Name or description, singular or plural, any case, accents or not, short or pasted."""
    assert chosen(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "...", "👋", "hello", "Hi, how are you?", "thanks!", "good morning", "what can you do?",
        "tell me a joke about penguins", "ok", "no", "what time is it?", "42", "\ud800", "\x00",
        "the quick brown fox jumps over lazy dogs while reviewing nothing whatsoever about servings of grain",
    ],
)  # fmt: skip
def test_small_talk_finds_none(text: str) -> None:
    """No skill is better than a wrong one."""
    assert chosen(text) is None


def test_a_name_weighs_more_than_a_description() -> None:
    """Who is called by its name is meant."""
    skills = [
        SkillSummary(name="aardvark", description="Everything about tea."),
        SkillSummary(name="tea", description="Leaves."),
    ]
    assert [ranked.skill.name for ranked in SkillIndex(skills).rank("tea")] == ["tea", "aardvark"]


@given(st.permutations([SkillSummary(name=name, description="tea and water") for name in "abcde"]))
def test_equals_come_by_name_whatever_the_order_of_the_catalog(skills: list[SkillSummary]) -> None:
    """Two containers that read the files in another order choose the same skill."""
    assert [ranked.skill.name for ranked in SkillIndex(skills).rank("tea", limit=3)] == ["a", "b", "c"]


def test_rare_words_weigh_more() -> None:
    """A word that one skill has tells more than one that all have."""
    skills = [SkillSummary(name=f"s{number}", description="helps with tea") for number in range(9)]
    skills.append(SkillSummary(name="z", description="helps with tea of oolong"))
    assert SkillIndex(skills).rank("oolong tea")[0].skill.name == "z"


def test_a_large_catalog_is_told_apart() -> None:
    """Among 5,000 skills that share most of their words, the one that is named is found."""
    skills = [
        SkillSummary(name=f"report-{number}", description="Write the monthly report for customer service.")
        for number in range(5_000)
    ]
    found = SkillIndex(skills).best("I need report 4711 for the service")
    assert found is not None
    assert found.name == "report-4711"


def test_an_empty_catalog_matches_nothing() -> None:
    """Before the catalog is there, no skill is chosen."""
    assert (SkillIndex(()).best("tea"), SkillIndex(()).rank("tea")) == (None, ())


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("recipe", "recipes"),
        ("city", "cities"),
        ("box", "boxes"),
        ("class", "classes"),
        ("bus", "bus"),
        ("tea", "teas"),
        ("茶", "茶"),
    ],
)
def test_plurals_fold_to_the_same_word(one: str, many: str) -> None:
    """Singular and plural meet."""
    assert list(words(one)) == list(words(many))


@given(st.text(max_size=200))
def test_any_text_can_be_asked(text: str) -> None:
    """No text makes matching fail, and the best is the first of the ranking."""
    index = SkillIndex(SKILLS)
    found = index.best(text)
    assert found is None or found == index.rank(text)[0].skill
