"""Builds what a model is asked: a stable prefix with the catalog, the conversation, the chosen skill."""

from actors.conversation import repaired
from actors.ports import Prompt
from actors.skill_text import whole
from actors.tools import SPECS
from contracts.skills import Catalog, Skill
from contracts.turns import ChatMessage, Session

CATALOG_CHARACTERS = 60_000  # about 15,000 tokens: the prefix stays cacheable and far from any context limit
TASK_CHARACTERS = 16_000  # four times Telegram's longest message

_PERSONA = """You are Firstlight, an assistant in a Telegram chat.
Answer in the language of the user. Be accurate; when you are not sure, say so.
Write Markdown that reads well on a phone: short paragraphs, short lists, code in fences.
These skills exist; the one that fits a task is given to you in full:"""


def prefix(catalog: Catalog) -> str:
    """The system text, the same for every chat as long as the catalog stays, so that a model can cache it."""
    lines, left = [_PERSONA], CATALOG_CHARACTERS
    for skill in catalog.skills:
        line = f"- {skill.name}: {skill.description}"
        left -= len(line)
        if left < 0:
            lines.append("- and others, which the user can list with /skills")
            break
        lines.append(line)
    return "\n".join(lines)


def prompt(system: str, catalog: Catalog, session: Session, task: str, skill: Skill | None) -> Prompt:
    """What to ask for `task`, which follows the session's conversation."""
    asked = ChatMessage(role="user", text=task[:TASK_CHARACTERS])
    return Prompt(
        system=system,
        messages=(*repaired(session.messages), asked),
        mode=session.mode,
        skill_name=skill.name if skill else "",
        skill_body=whole(skill) if skill else "",
        catalog=catalog.skills,
        tools=SPECS if catalog.skills else (),
    )
