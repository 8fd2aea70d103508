"""Builds what a model is asked: a stable prefix with the catalog, the conversation, the chosen skill."""

from actors.conversation import repaired
from actors.ports import Prompt
from actors.tools import SPECS
from contracts.skills import Catalog, Skill
from contracts.turns import ChatMessage, Session

CATALOG_CHARACTERS = 60_000  # about 15,000 tokens: the prefix stays cacheable and far from any context limit
TASK_CHARACTERS = 16_000  # four times Telegram's longest message
FILES_LISTED = 50  # a folder of thousands of files is not for a prompt

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
        skill_body=_whole(skill) if skill else "",
        catalog=catalog.skills,
        tools=SPECS if catalog.skills else (),
    )


def _whole(skill: Skill) -> str:
    memory = f"\n\n## Memory\n{skill.memory}" if skill.memory else ""
    errors = f"\n\n## Error History\n{skill.error_history}" if skill.error_history else ""
    return skill.body + memory + errors + _files(skill)


def _files(skill: Skill) -> str:
    """What `read_skill_file` can read."""
    if not skill.resources:
        return ""
    return "\n\n## Files beside this skill\n" + "\n".join(skill.resources[:FILES_LISTED])
