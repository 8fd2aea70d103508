"""Turns a Prompt into the parameters of one Messages API request that the API will accept."""

from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

import msgspec
from anthropic.types import (
    ContentBlockParam,
    MessageParam,
    TextBlockParam,
    ToolChoiceParam,
    ToolParam,
)

from actors.conversation import bounded, repaired
from actors.ports import Prompt, ToolSpec
from contracts.base import Value
from contracts.turns import ChatMessage, ToolCall

Role: TypeAlias = Literal["user", "assistant"]

_LENGTHS: Final = {
    "brief": "Answer in a few short sentences.",
    "detailed": "Answer in full, with reasons and examples where they help.",
}


class Request(Value, frozen=True, kw_only=True):
    """The parameters of `messages.create`; empty means: leave it out."""

    system: list[TextBlockParam]
    messages: list[MessageParam]
    tools: list[ToolParam]
    tool_choice: ToolChoiceParam
    max_tokens: int


def request_of(prompt: Prompt) -> Request:
    """Give the request; messages start and end with a user's, alternate, and hold no unanswered call."""
    called = {call.name for message in prompt.messages for call in message.tool_calls}
    return Request(
        system=list(_system(prompt)),
        messages=_messages(prompt.messages),
        tools=[_tool(spec) for spec in prompt.tools] or [_stub(name) for name in sorted(called)],
        tool_choice={"type": "auto"} if prompt.tools else {"type": "none"},
        max_tokens=prompt.max_tokens,
    )


def shortened(prompt: Prompt) -> Prompt | None:
    """Give the prompt with the later half of its conversation; None when there is nothing to leave out."""
    kept = bounded(prompt.messages, limit=len(prompt.messages) // 2)
    return msgspec.structs.replace(prompt, messages=kept) if kept else None


def _system(prompt: Prompt) -> Iterator[TextBlockParam]:
    """Stable text first: the API caches what stands before the mark, tools included."""
    if prompt.system.strip():
        yield {"type": "text", "text": prompt.system, "cache_control": {"type": "ephemeral"}}
    if prompt.skill_body.strip():
        text = f'<skill name="{prompt.skill_name}">\n{prompt.skill_body}\n</skill>'
        yield {"type": "text", "text": text}
    if length := _LENGTHS.get(prompt.mode):
        yield {"type": "text", "text": length}


def _messages(messages: tuple[ChatMessage, ...]) -> list[MessageParam]:
    """Drop what is empty, then what has no partner, and merge neighbours of one role: the API refuses all three."""
    merged: list[tuple[Role, list[ContentBlockParam]]] = []
    filled = tuple(message for message in messages if any(_blocks(message)))
    for message in _asked(repaired(filled)):
        if merged and merged[-1][0] == message.role:
            merged[-1][1].extend(_blocks(message))
        else:
            merged.append((message.role, list(_blocks(message))))
    return [_message(role, blocks) for role, blocks in merged]


def _message(role: Role, blocks: list[ContentBlockParam]) -> MessageParam:
    if role == "user":
        return {"role": "user", "content": blocks}
    return {"role": "assistant", "content": blocks}


def _asked(messages: tuple[ChatMessage, ...]) -> Sequence[ChatMessage]:
    """Leave out answers after the last question: newer models refuse to go on with one."""
    last = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
    return messages[: last + 1]


def _blocks(message: ChatMessage) -> Iterator[ContentBlockParam]:
    """Give results first, as the API wants them right behind their calls."""
    for result in message.tool_results:
        yield {
            "type": "tool_result",
            "tool_use_id": result.id,
            "content": result.content,
            "is_error": result.failed,
        }
    if text := message.text.rstrip():
        yield {"type": "text", "text": text}
    for call in message.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": _arguments(call)}


def _arguments(call: ToolCall) -> dict[str, object]:
    try:
        return msgspec.json.decode(call.arguments, type=dict[str, object])
    except (
        msgspec.DecodeError
    ):  # kept by an older version, or cut: the result behind it still tells the story
        return {}


def _tool(spec: ToolSpec) -> ToolParam:
    schema = msgspec.json.decode(spec.schema, type=dict[str, object])
    return {"name": spec.name, "description": spec.description, "input_schema": schema}


def _stub(name: str) -> ToolParam:
    """Declare a tool that the history names: the API refuses calls of undeclared tools, also past ones."""
    return {"name": name, "description": "Not available any more.", "input_schema": {"type": "object"}}
