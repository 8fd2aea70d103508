"""The bot's commands: what each answers and changes, all in one table."""

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from actors.command_list import DESCRIPTIONS
from contracts.base import Value
from contracts.sessions import SessionPatch, TurnClaimed
from contracts.skills import Catalog
from contracts.turns import Button, ChatMessage, Incoming, Session, TurnState

MODES: Final[Mapping[str, str]] = {
    "brief": "a few sentences",
    "normal": "as long as the question needs",
    "detailed": "with the reasons and the steps",
}
GAVE_UP: Final = (
    "I failed to answer your message and have stopped trying. Please write it again, or in other words."
)
LISTED_SKILLS: Final = 40  # what fits on a phone's screen or three; /skill finds the others by name
_NAMES_US: Final = re.compile(r"/[A-Za-z0-9_]{1,32}@\w")  # what names another bot is not queued
_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,32})(?:@\w+)?(?:\s+|$)")


class Command(Value, frozen=True):
    """`/name argument`; the name in lower case, the argument without surrounding space."""

    name: str
    argument: str = ""


class Reply(Value, frozen=True, kw_only=True):
    """What a turn will commit: Markdown for the user (none: no reply), and the session's changes."""

    text: str = ""
    buttons: tuple[Button, ...] = ()
    append: tuple[ChatMessage, ...] = ()
    patch: SessionPatch = SessionPatch()
    clear: bool = False
    forget: bool = False
    outcome: TurnState = "answered"
    reason: str = ""


def gave_up(turn: TurnClaimed) -> Reply:
    """One honest notice instead of an answer; for what nobody wrote there is none."""
    text = "" if turn.incoming.migrate_to else GAVE_UP
    return Reply(text=text, outcome="dead_lettered", reason=turn.gave_up)


class Situation(Value, frozen=True, kw_only=True):
    """What a command may look at. `waiting` counts the chat's updates, `model` is its name."""

    session: Session
    incoming: Incoming
    catalog: Catalog
    model: str
    argument: str = ""


def read_command(incoming: Incoming) -> Command | None:
    """The command of a message (Bot API: `/name` or `/name@Bot` at its start) or of a pressed button."""
    if incoming.callback:
        name, _, argument = incoming.text.partition(":")
        return Command(name.lower(), argument)
    found = _COMMAND.match(incoming.text)
    return Command(found[1].lower(), incoming.text[found.end() :].strip()) if found else None


def run_command(name: str, situation: Situation) -> Reply:
    """Answer a command; an unknown one is ignored in a group, where it may be another's, unless it names us."""
    command = COMMANDS.get(name)
    if command is not None:
        return command(situation)
    incoming = situation.incoming
    ours = incoming.chat_type == "private" or _NAMES_US.match(incoming.text)
    if incoming.callback or not ours:
        return Reply(outcome="ignored", reason="unknown command")
    return Reply(text=f"I don't know the command `/{name}`. /help lists what I know.")


def encodable(reply: Reply) -> Reply:
    """Halves of characters, which a model may give and nobody takes, become question marks."""
    append = tuple(msgspec.structs.replace(each, text=_whole(each.text)) for each in reply.append)
    return msgspec.structs.replace(reply, text=_whole(reply.text), append=append)


def _start(situation: Situation) -> Reply:
    hello = f"Hello {situation.incoming.user_name}!" if situation.incoming.user_name else "Hello!"
    skills = len(situation.catalog.skills)
    return Reply(text=f"{hello} Write to me, and I answer with the help of {skills} skills.\n\n{_HELP}")


def _help(_: Situation) -> Reply:
    return Reply(text=_HELP)


def _skills(situation: Situation) -> Reply:
    skills = situation.catalog.skills
    if not skills:
        return Reply(text="No skills are installed.")
    lines = [f"- **{skill.name}**: {_short(skill.description)}" for skill in skills[:LISTED_SKILLS]]
    more = len(skills) - LISTED_SKILLS
    if more > 0:
        lines.append(f"\n…and {more} more.")
    return Reply(text="**Skills**\n\n" + "\n".join(lines) + "\n\nUse one with `/skill NAME TASK`.")


def _mode(situation: Situation) -> Reply:
    wanted = situation.argument.lower()
    buttons = tuple(Button(text=mode, data=f"mode:{mode}") for mode in MODES)
    if wanted in MODES:
        return Reply(text=f"Mode **{wanted}**: {MODES[wanted]}.", patch=SessionPatch(mode=wanted))
    lead = f"There is no mode `{wanted[:40]}`. " if wanted else ""
    choices = "\n".join(f"- **{mode}**: {meaning}" for mode, meaning in MODES.items())
    return Reply(
        text=f"{lead}The mode is **{situation.session.mode}**. Choose one:\n\n{choices}", buttons=buttons
    )


def _clear(_: Situation) -> Reply:
    return Reply(text="I cleared our conversation. Your settings are as they were.", clear=True)


def _forget(_: Situation) -> Reply:
    return Reply(text="I erased what I kept of this chat: settings, conversation and texts.", forget=True)


def _status(situation: Situation) -> Reply:
    session = situation.session
    lines = (
        f"- mode: **{session.mode}**",
        f"- turns: {session.turns}",
        f"- remembered messages: {len(session.messages)}",
        f"- skills: {len(situation.catalog.skills)}",
        f"- model: `{situation.model}`",
    )
    return Reply(text="**Status**\n\n" + "\n".join(lines))


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


def _short(text: str, limit: int = 100) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


COMMANDS: Final[Mapping[str, Callable[[Situation], Reply]]] = {
    "start": _start,
    "help": _help,
    "skills": _skills,
    "mode": _mode,
    "clear": _clear,
    "forget": _forget,
    "status": _status,
}

_HELP: Final = "\n".join(f"/{name} - {meaning}" for name, meaning in DESCRIPTIONS.items())
