"""The tools of the agent: a model may read skills and the files beside them; whatever goes wrong is told to it."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from actors.ports import ToolSpec, Unreachable
from actors.refs import SkillRegistryRef
from actors.skill_text import whole
from contracts.base import Message
from contracts.faults import Fault, SkillNotFound
from contracts.skills import GetResource, GetSkill, Resource, Skill
from contracts.turns import ToolCall, ToolResult

TOOL_S: Final = 5.0  # one call to a warm actor; a model that waits longer has no time left to answer
RESULT_BYTES: Final = (
    32 * 1024
)  # above the largest skill in the wild; three rounds of them stay far from any context
CALLS_MOST: Final = 4  # at once


class _ReadSkill(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _ReadFile(msgspec.Struct, forbid_unknown_fields=True):
    skill: str
    path: str


_read_skill = msgspec.json.Decoder(_ReadSkill).decode
_read_file = msgspec.json.Decoder(_ReadFile).decode

SPECS: Final = (
    ToolSpec(
        name="read_skill",
        description="Read the whole text of a skill and the list of its files, by its name.",
        schema='{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}',
    ),
    ToolSpec(
        name="read_skill_file",
        description="Read one of the files that a skill lists, by the skill's name and the file's path.",
        schema='{"type":"object","properties":{"skill":{"type":"string"},"path":{"type":"string"}},'
        '"required":["skill","path"]}',
    ),
)


class Tools:
    """Runs a model's calls. Never raises for what a model asks for or an actor answers: results say what failed."""

    def __init__(self, registry: SkillRegistryRef) -> None:
        self._registry = registry

    async def run(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Give a result for each call, in their order; beyond CALLS_MOST at once they are refused."""
        running = (self._run(call) for call in calls[:CALLS_MOST])
        refused = (_failed(call, f"at most {CALLS_MOST} calls at once") for call in calls[CALLS_MOST:])
        return (*await asyncio.gather(*running), *refused)

    async def _run(self, call: ToolCall) -> ToolResult:
        try:
            request = _request(call)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as wrong:
            return _failed(call, f"these arguments can't be read: {wrong}"[:300])
        if request is None:
            return _failed(call, f"there is no such tool; there are {', '.join(spec.name for spec in SPECS)}")
        try:
            async with asyncio.timeout(TOOL_S):
                return _result(call, await self._registry.ask(request))
        except (TimeoutError, Unreachable):
            return _failed(call, "the skills can't be reached now")


def _request(call: ToolCall) -> GetSkill | GetResource | None:
    match call.name:
        case "read_skill":
            return GetSkill(name=_read_skill(call.arguments).name)
        case "read_skill_file":
            asked = _read_file(call.arguments)
            return GetResource(skill=asked.skill, path=asked.path)
        case _:
            return None


def _result(call: ToolCall, answer: Message) -> ToolResult:
    match answer:
        case Skill():
            return ToolResult(id=call.id, content=_cut(whole(answer).encode()))
        case Resource(content=content):
            return ToolResult(id=call.id, content=_cut(content))
        case SkillNotFound(suggestions=names):
            return _failed(call, f"no skill of that name; near it are: {', '.join(names) or 'none'}")
        case Fault(detail=detail):
            return _failed(call, detail or "not found")
        case _:
            return _failed(call, "not found")


def _failed(call: ToolCall, why: str) -> ToolResult:
    return ToolResult(id=call.id, content=why, failed=True)


def _cut(content: bytes) -> str:
    """As text, within the bound in bytes; what is no UTF-8 is replaced."""
    text = content[:RESULT_BYTES].decode("utf-8", "ignore" if len(content) > RESULT_BYTES else "replace")
    return text if len(content) <= RESULT_BYTES else f"{text}\n[cut: {len(content)} bytes in all]"
