"""Tests of the request that a prompt becomes: whatever the history, the API's rules for messages hold."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.ports import Prompt, ToolSpec
from app.llm.anthropic_request import request_of, shortened
from contracts.turns import ChatMessage, ToolCall, ToolResult

FIND = ToolSpec(name="find", description="Find it.", schema='{"type": "object", "required": ["q"]}')


def asks(text: str) -> ChatMessage:
    """A user's message."""
    return ChatMessage(role="user", text=text)


def says(text: str) -> ChatMessage:
    """An assistant's message."""
    return ChatMessage(role="assistant", text=text)


def calls(*ids: str, arguments: str = "{}", text: str = "") -> ChatMessage:
    """An assistant's message that calls a tool."""
    made = tuple(ToolCall(id=one, name="find", arguments=arguments) for one in ids)
    return ChatMessage(role="assistant", text=text, tool_calls=made)


def results(*ids: str) -> ChatMessage:
    """The results of these calls."""
    return ChatMessage(role="user", tool_results=tuple(ToolResult(id=one, content="found") for one in ids))


def sent(*messages: ChatMessage) -> list[Any]:
    """The messages as they are sent."""
    return list(request_of(Prompt(system="", messages=messages)).messages)


def shape(messages: list[Any]) -> list[tuple[str, list[str]]]:
    """Roles and kinds of blocks."""
    return [(message["role"], [block["type"] for block in message["content"]]) for message in messages]


def test_the_stable_prefix_is_marked_for_the_cache_and_comes_first() -> None:
    """The catalog is paid once; the skill and the length stand behind the mark, so that they can change."""
    prompt = Prompt(system="S", messages=(asks("q"),), mode="brief", skill_name="cook", skill_body="Stir.")
    system = request_of(prompt).system
    assert system[0] == {"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}
    assert system[1] == {"type": "text", "text": '<skill name="cook">\nStir.\n</skill>'}
    assert "short" in system[2]["text"]


def test_empty_system_text_is_left_out() -> None:
    """The API refuses empty text blocks."""
    assert request_of(Prompt(system=" \n", messages=(asks("q"),))).system == []


def test_a_whole_tool_round_is_sent_as_it_was() -> None:
    """A call and its result stand in neighbouring messages, with the arguments as an object."""
    messages = sent(asks("q"), calls("t1", arguments='{"q": 1}', text="Let me see."), results("t1"))
    assert shape(messages) == [
        ("user", ["text"]),
        ("assistant", ["text", "tool_use"]),
        ("user", ["tool_result"]),
    ]
    assert messages[1]["content"][1]["input"] == {"q": 1}
    assert messages[2]["content"][0]["tool_use_id"] == "t1"


def test_a_call_without_a_result_is_repaired() -> None:
    """After a crash between a call and its result the next question is still accepted."""
    assert shape(sent(asks("q"), calls("t1"), asks("again"))) == [("user", ["text", "text"])]


@pytest.mark.parametrize("arguments", ["", "{", "[]", "null", '"x"'])
def test_unreadable_arguments_become_an_empty_object(arguments: str) -> None:
    """History that an older version cut does not break the chat for ever."""
    assert sent(asks("q"), calls("t1", arguments=arguments), results("t1"))[1]["content"][0]["input"] == {}


def test_tools_are_declared_with_their_schema() -> None:
    """A tool arrives at the API with its JSON Schema as an object."""
    request = request_of(Prompt(system="", messages=(asks("q"),), tools=(FIND,)))
    schema = {"type": "object", "required": ["q"]}
    assert request.tools == [{"name": "find", "description": "Find it.", "input_schema": schema}]
    assert request.tool_choice == {"type": "auto"}


def test_tools_of_the_past_are_declared_but_not_offered() -> None:
    """A history with calls is accepted although no tool is given any more, and none is called."""
    request = request_of(Prompt(system="", messages=(asks("q"), calls("t1"), results("t1"))))
    assert ([tool["name"] for tool in request.tools], request.tool_choice) == (["find"], {"type": "none"})


def test_shortened_keeps_the_question() -> None:
    """The later half begins with a user's message and ends with the question."""
    talk = (asks("1"), says("2"), asks("3"), says("4"), asks("5"))
    shorter = shortened(Prompt(system="S", messages=talk))
    assert shorter is not None
    assert (shorter.system, shorter.messages) == ("S", (asks("5"),))


def test_a_single_question_cannot_be_shortened() -> None:
    """There is nothing to leave out of one message."""
    assert shortened(Prompt(system="", messages=(asks("1"),))) is None


ids = st.lists(st.sampled_from("ab"), min_size=1, max_size=2, unique=True)
texts = st.sampled_from(["", " \n", "word", "word "])
anything = st.lists(
    st.one_of(
        texts.map(asks),
        texts.map(says),
        st.builds(lambda some, text: calls(*some, text=text), ids, texts),
        ids.map(lambda some: results(*some)),
    ),
    max_size=8,
)


@given(anything)
def test_whatever_the_history_the_api_would_accept_it(history: list[ChatMessage]) -> None:
    """Roles alternate from user to user, nothing is empty, and each call has exactly its results behind it."""
    messages = sent(*history)
    roles = [message["role"] for message in messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
    assert len(roles) % 2 == (1 if roles else 0)
    assert all(message["content"] for message in messages)
    assert all(block["text"].strip() for block in _blocks(messages, "text"))
    for message, following in pairwise([*messages, {"content": []}]):
        called = [block["id"] for block in _blocks([message], "tool_use")]
        assert sorted(called) == sorted(block["tool_use_id"] for block in _blocks([following], "tool_result"))


@given(anything, texts.filter(str.strip))
def test_the_last_question_is_always_asked(history: list[ChatMessage], question: str) -> None:
    """Repair never costs the message that the user waits for."""
    assert sent(*history, asks(question))[-1]["content"][-1]["text"] == question.rstrip()


def _blocks(messages: list[Any], kind: str) -> list[Any]:
    return [block for message in messages for block in message["content"] if block["type"] == kind]
