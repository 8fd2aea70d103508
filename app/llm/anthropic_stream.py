"""Gathers the events of one Messages API stream into a Completion, within a bound."""

from typing import Final

import msgspec
from anthropic.types import (
    InputJSONDelta,
    Message,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
    RawMessageStreamEvent,
    TextBlock,
    TextDelta,
    ToolUseBlock,
)

from actors.ports import Completion
from app.llm.anthropic_errors import EMPTY, UNREADABLE, AnthropicFailure
from contracts.turns import ToolCall

MAX_CHARS: Final = 100_000
"""Text and tool arguments of one answer: sixteen Telegram messages, more than we ever ask for."""

CUT_NOTE: Final = "_(The answer was cut here at its length limit.)_"
REFUSAL: Final = "I can't help with this one."

_STOPS: Final = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "refusal",
}


class _Call:
    def __init__(self, block: ToolUseBlock) -> None:
        self.id, self.name = str(block.id), str(block.name)
        self.parts: list[str] = []


class StreamedAnswer:
    """An answer on its way. Events of kinds that are not known yet are passed over."""

    def __init__(self, max_chars: int = MAX_CHARS) -> None:
        self._left = max_chars
        self._text: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._stop, self._ended = "", False
        self._input_tokens = self._output_tokens = 0

    @property
    def begun(self) -> bool:
        """Something of the answer has come."""
        return bool(self._text or self._calls)

    @property
    def full(self) -> bool:
        """More came than is kept; the stream may be closed."""
        return self._left < 0

    def take(self, event: RawMessageStreamEvent) -> None:
        """Take the next event."""
        match event:
            case RawMessageStartEvent(message=Message() as message):
                self._input_tokens = _input_tokens(message)
            case RawContentBlockStartEvent(index=int(index), content_block=ToolUseBlock() as block):
                self._calls[index] = _Call(block)
            case RawContentBlockStartEvent(content_block=TextBlock(text=str(text))):
                self._text.append(self._within(text))
            case RawContentBlockDeltaEvent(delta=TextDelta(text=str(text))):
                self._text.append(self._within(text))
            case RawContentBlockDeltaEvent(index=index, delta=InputJSONDelta(partial_json=str(part))):
                self._take_part(index, part)
            case RawMessageDeltaEvent():
                self._stop = str(event.delta.stop_reason or self._stop)
                self._output_tokens = event.usage.output_tokens or 0
            case RawMessageStopEvent():
                self._ended = True

    def completion(self) -> Completion:
        """Give the whole answer; raises AnthropicFailure for one that is empty or has no end."""
        if not (self._ended or self.full):
            raise AnthropicFailure(UNREADABLE, "the stream ended early", begun=self.begun)
        stop = "length" if self.full else _STOPS.get(self._stop, "end")
        calls = self._tool_calls() if stop == "tools" else ()
        text = self._whole_text(stop)
        if not text and not calls:
            raise AnthropicFailure(EMPTY, f"stop reason {stop}", begun=True)
        return Completion(
            text=text,
            tool_calls=calls,
            stop=stop if calls or stop != "tools" else "end",
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
        )

    def _whole_text(self, stop: str) -> str:
        text = _whole_characters("".join(self._text)).strip()
        match stop:
            case "refusal":
                return REFUSAL  # what came before a refusal is not to be shown
            case "length" if text:
                return f"{text}\n\n{CUT_NOTE}"
        return text

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        """Give the calls whose arguments are whole: a cut one must not run."""
        calls = (_tool_call(call) for _, call in sorted(self._calls.items()))
        return tuple(call for call in calls if call)

    def _take_part(self, index: int, part: str) -> None:
        if call := self._calls.get(index):
            call.parts.append(self._within(part))

    def _within(self, text: str) -> str:
        kept = text[: max(0, self._left)]
        self._left -= len(text)
        return kept


def _tool_call(call: _Call) -> ToolCall | None:
    arguments = "".join(call.parts) or "{}"
    try:
        msgspec.json.decode(arguments, type=dict[str, object])
    except msgspec.DecodeError:
        return None
    return ToolCall(id=call.id, name=call.name, arguments=arguments)


def _input_tokens(message: Message) -> int:
    usage = message.usage
    cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    return (usage.input_tokens or 0) + cached


def _whole_characters(text: str) -> str:
    """Join surrogates that came in two deltas; half of a pair, which no message can carry, becomes a sign of loss."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
