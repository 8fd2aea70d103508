"""Asks the model, runs the tools that it calls, and asks again, for a bounded number of rounds."""

from collections.abc import Callable
from typing import Final

import msgspec

from actors.ports import Completion, Model, ModelError, Prompt
from actors.tools import Tools
from contracts.turns import ChatMessage

ROUNDS: Final = 3  # of tool calls in a turn: a skill, a file beside it, and one more
NOTICE: Final = "I could not answer this just now. Please try again in a moment."


async def converse(model: Model, prompt: Prompt, tools: Tools, count: Callable[[str], None]) -> Completion:
    """Give the model's answer; after the last round it is offered no tool, so that it has to answer.

    What it called and learned lives as long as the turn: one that is cut begins anew, and no half of a pair is ever
    stored. Raises ModelError, also for an answer without text.
    """
    completion = await model.answer(prompt)
    for left in reversed(range(ROUNDS)):
        if not completion.tool_calls or not prompt.tools:
            break
        count("tool_rounds")
        results = await tools.run(completion.tool_calls)
        asked = ChatMessage(role="assistant", text=completion.text, tool_calls=completion.tool_calls)
        told = ChatMessage(role="user", tool_results=results)
        offered = prompt.tools if left else ()
        prompt = msgspec.structs.replace(prompt, messages=(*prompt.messages, asked, told), tools=offered)
        completion = await model.answer(prompt)
    if not completion.text.strip():
        endless = "it calls tools and does not answer" if completion.tool_calls else "empty answer"
        raise ModelError(endless, notice=NOTICE, retry=True)
    return completion
