"""The names of the bot's commands, for Telegram's menu and for `/help`."""

from collections.abc import Mapping
from typing import Final

DESCRIPTIONS: Final[Mapping[str, str]] = {
    "start": "say hello",
    "help": "what I can do",
    "skills": "list the skills",
    "skill": "NAME TASK: do a task with one skill",
    "mode": "brief, normal or detailed answers",
    "status": "how this chat stands",
    "clear": "empty our conversation",
    "forget": "erase what I kept of this chat",
}
"""What Telegram shows beside each command (Bot API `setMyCommands`)."""
