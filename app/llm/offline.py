"""The model without a key: answers from the chosen skill's own text, and says so."""

import re
from collections.abc import Sequence
from typing import Final

from actors.ports import Completion, Prompt
from app.llm.offline_extract import extract
from contracts.skills import SkillSummary

MODE_CHARS: Final = {"brief": 500, "normal": 1_500, "detailed": 3_000}
"""How much of a skill an answer quotes, in characters: the longest still fits one Telegram message."""

SHOWN_SKILLS: Final = {"brief": 3, "normal": 7, "detailed": 20}
"""How many skills are named when none was chosen."""

_QUOTED_CHARS: Final = 500
_DESCRIBED_CHARS: Final = 120
_RECALL: Final = re.compile(
    r"\b(?:what (?:did|have) i (?:just )?(?:say|said|ask|asked|write|wrote|written|tell|told)"
    r"|my (?:last|previous|earlier) (?:message|question)"
    r"|(?:repeat|remember) what i (?:said|asked|wrote|told))\b",
    re.IGNORECASE,
)
_AFTER_SENTENCE: Final = re.compile(r"(?<=[.!?])\s")


class OfflineModel:
    """Deterministic: the same prompt gives the same answer, with no call to anywhere. Never raises ModelError."""

    name = "offline"

    async def connect(self) -> None:
        """There is nothing to open."""

    async def answer(self, prompt: Prompt) -> Completion:
        """Quote the skill's best sections, or say what there is to choose from."""
        text = _reply(prompt)
        return Completion(
            text=text, input_tokens=_tokens(_last_question(prompt)), output_tokens=_tokens(text)
        )

    async def close(self) -> None:
        """There is nothing to give back."""


def _reply(prompt: Prompt) -> str:
    question = _last_question(prompt)
    if _RECALL.search(question):
        return _recalled(_questions(prompt)[:-1])
    if prompt.skill_body.strip():
        return _from_skill(prompt, question)
    return _offer(prompt.catalog, prompt.mode)


def _from_skill(prompt: Prompt, question: str) -> str:
    limit = MODE_CHARS.get(prompt.mode, MODE_CHARS["normal"])
    title = f" **{prompt.skill_name}**" if prompt.skill_name else ""
    found = extract(prompt.skill_body, question, limit, prompt.skill_name)
    return f"_Offline, without a model: from my skill_{title}\n\n{found}"


def _offer(catalog: Sequence[SkillSummary], mode: str) -> str:
    opening = "_I am offline, without a model, so I answer from my skills alone._"
    if not catalog:
        return f"{opening}\n\nNo skill is loaded yet, so there is not much that I can do."
    shown = catalog[: SHOWN_SKILLS.get(mode, SHOWN_SKILLS["normal"])]
    lines = [_offered(skill) for skill in shown]
    if more := len(catalog) - len(shown):
        lines.append(f"- and {more} more")
    return "\n".join([opening, "", "Ask me about one of these:", "", *lines])


def _offered(skill: SkillSummary) -> str:
    about = _AFTER_SENTENCE.split(skill.description.strip(), maxsplit=1)[0]
    return f"- **{skill.name}**: {_cut(about, _DESCRIBED_CHARS)}" if about else f"- **{skill.name}**"


def _recalled(earlier: Sequence[str]) -> str:
    if not earlier:
        return "_Offline, without a model._ This is the first message of yours that I have."
    quoted = "\n".join(f"> {line}" for line in _cut(earlier[-1], _QUOTED_CHARS).splitlines())
    return f"_Offline, without a model._ Before that you wrote:\n\n{quoted}"


def _questions(prompt: Prompt) -> list[str]:
    texts = (message.text.strip() for message in prompt.messages if message.role == "user")
    return [text for text in texts if text]


def _last_question(prompt: Prompt) -> str:
    questions = _questions(prompt)
    return questions[-1] if questions else ""


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _tokens(text: str) -> int:
    """Count as models do, roughly: a token is some four characters."""
    return len(text) // 4
