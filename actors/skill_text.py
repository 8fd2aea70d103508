"""A skill as a model reads it, whether it was chosen for a message or asked for by the model."""

from typing import Final

from contracts.skills import Skill

FILES_LISTED: Final = 50  # a folder of thousands of files is not for a prompt


def whole(skill: Skill) -> str:
    """Its body, memory and error history, and the list of files that `read_skill_file` can read."""
    memory = f"\n\n## Memory\n{skill.memory}" if skill.memory else ""
    errors = f"\n\n## Error History\n{skill.error_history}" if skill.error_history else ""
    return skill.body + memory + errors + _files(skill)


def _files(skill: Skill) -> str:
    if not skill.resources:
        return ""
    return "\n\n## Files beside this skill\n" + "\n".join(skill.resources[:FILES_LISTED])
