"""Tests of the model without a key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.ports import Model, Prompt
from app.llm.offline import MODE_CHARS, OfflineModel
from app.llm.offline_extract import extract, sections_of
from contracts.skills import SkillSummary
from contracts.turns import ChatMessage

BODY = """# Tea

Tea is leaves and patience.

## Water

Soft water, freshly drawn.

- Green tea: 70 °C
- Black tea: 95 °C

## Steeping

1. Warm the pot.
2. Wait three minutes.

```text
# not a heading
wait: 3 min
```

## Milk

Never in green tea.
"""
CATALOG = tuple(
    SkillSummary(name=f"skill-{number}", description=f"Does thing {number}. And more.")
    for number in range(30)
)


async def reply(
    *texts: str, mode: str = "normal", body: str = "", catalog: tuple[SkillSummary, ...] = ()
) -> str:
    """What the model says to the last of these messages of a user."""
    messages = tuple(ChatMessage(role="user", text=text) for text in texts)
    prompt = Prompt(
        system="", messages=messages, mode=mode, skill_name="tea", skill_body=body, catalog=catalog
    )
    model: Model = OfflineModel()
    return (await model.answer(prompt)).text


async def test_it_says_that_it_is_offline_and_whose_words_these_are() -> None:
    """Nobody takes an extract for a model's answer."""
    first = (await reply("How hot?", body=BODY)).splitlines()[0]
    assert first == "_Offline, without a model: from my skill_ **tea**"


async def test_it_answers_from_the_section_that_the_question_is_about() -> None:
    """The heading and its steps are quoted as they stand; other sections are not."""
    answer = await reply("How long is the steeping?", body=BODY)
    assert "## Steeping\n\n1. Warm the pot.\n2. Wait three minutes." in answer
    assert "## Milk" not in answer


def test_blocks_without_a_word_in_common_are_left_out() -> None:
    """Of a section whose heading does not match, only the paragraph that does is quoted."""
    assert extract(BODY, "freshly drawn?", 500) == "## Water\n\nSoft water, freshly drawn."


def test_what_all_of_a_skill_is_about_tells_no_section_apart() -> None:
    """Words of the skill's name count only when the question has no other."""
    assert extract(BODY, "milk in tea", 500, name="tea").startswith("## Milk")
    assert extract(BODY, "tea!", 500, name="tea").startswith("# Tea")


def test_a_stop_word_decides_between_headings_only() -> None:
    """A heading of everyday words is found when nothing else is asked for."""
    body = "# Mail\n\nSay much.\n\n## Say no\n\nThanks, but I can not."
    assert extract(body, "how do I say no in a mail?", 500, name="mail").startswith("## Say no")


def test_a_question_that_matches_nothing_gets_the_beginning_and_the_headings() -> None:
    """The user sees what can be asked."""
    found = extract(BODY, "xyzzy", 500)
    assert found == "# Tea\n\nTea is leaves and patience.\n\nAsk me more about: Water; Steeping; Milk."


def test_a_list_or_table_is_cut_between_its_lines() -> None:
    """What does not fit ends with a whole step and a sign that there is more."""
    steps = "\n".join(f"{number}. step of the tea" for number in range(1, 30))
    found = extract(f"## Tea\n\n{steps}", "tea", 150)
    assert found.endswith("7. step of the tea\n…")


def test_prose_is_cut_between_its_words() -> None:
    """What does not fit ends with a whole word and a sign that there is more."""
    assert extract(f"## Tea\n\n{'infusion ' * 50}", "tea", 150).endswith("infusion infusion…")


def test_a_hash_within_code_is_no_heading() -> None:
    """Fenced code stays one block."""
    titles = [section.title for section in sections_of(BODY)]
    assert titles == ["", "Tea", "Water", "Steeping", "Milk"]


@pytest.mark.parametrize(
    "body", ["", "\n", "# Only a heading", "```\nopen", "###", "~~~\n# x\n~~~", "- \n\n-"]
)
def test_strange_bodies_give_a_text(body: str) -> None:
    """Whatever an author wrote, there is an answer."""
    assert extract(body, "anything", 200)


@given(
    st.lists(
        st.sampled_from(
            ["# Tea", "## Water", "green tea " * 20, "- one\n- two", "```\ncode tea\n```", "", "tea"]
        )
    ),
    st.integers(100, 600),
)
def test_an_extract_keeps_its_bound_and_closes_its_code(parts: list[str], limit: int) -> None:
    """No extract is longer than asked for, and none ends within a code block."""
    found = extract("\n\n".join(parts), "green tea", limit)
    assert len(found) <= limit
    assert found.count("```") % 2 == 0


@pytest.mark.parametrize(("mode", "limit"), MODE_CHARS.items())
async def test_the_mode_sets_the_length(mode: str, limit: int) -> None:
    """A brief answer is short, a detailed one still fits one message."""
    body = "\n\n".join(f"## Part {number}\n\n{'tea and water. ' * 20}" for number in range(40))
    answer = await reply("Tell me about tea", mode=mode, body=body)
    assert limit * 0.6 < len(answer) <= limit + 60


async def test_without_a_skill_it_names_what_it_can_do() -> None:
    """The first skills are offered with one sentence each, and how many more there are."""
    answer = await reply("hi", catalog=CATALOG)
    assert "- **skill-0**: Does thing 0.\n" in answer
    assert answer.endswith("- and 23 more")


async def test_without_any_skill_it_says_so() -> None:
    """An empty catalog is no reason to fail."""
    assert "No skill is loaded" in await reply("hi")


@pytest.mark.parametrize(
    "question", ["What did I say before?", "what was my last message", "Remember what I said?"]
)
async def test_it_remembers_what_the_user_said(question: str) -> None:
    """The message before is quoted, line by line."""
    assert (await reply("buy milk\nand tea", question)).endswith("> buy milk\n> and tea")


async def test_with_nothing_to_remember_it_says_so() -> None:
    """A first message has none before it."""
    assert "first message" in await reply("what did I say before?")


async def test_the_same_prompt_gives_the_same_answer() -> None:
    """Replays and demonstrations can be compared."""
    assert await reply("milk in tea?", body=BODY) == await reply("milk in tea?", body=BODY)


async def test_a_skill_without_a_description_is_offered_by_its_name() -> None:
    """A bare name is better than a line that ends in a colon."""
    assert "\n- **tea**" in await reply("hi", catalog=(SkillSummary(name="tea"),))


async def test_opening_and_closing_cost_nothing() -> None:
    """The model without a key has nothing to open or to give back, in any order."""
    model = OfflineModel()
    await model.close()
    await model.connect()
    assert model.name == "offline"


async def test_a_prompt_without_messages_is_answered() -> None:
    """An empty conversation is no reason to fail."""
    assert await reply(body=BODY)
