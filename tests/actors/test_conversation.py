"""Conversations stay within their bounds and valid, whatever is appended."""

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.conversation import MAX_BYTES, MAX_MESSAGES, Messages, bounded, extend, repaired
from contracts.turns import ChatMessage, ToolCall, ToolResult

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
IDS = st.sampled_from("abc")


@st.composite
def exchanges(draw: st.DrawFn) -> Messages:
    """What one turn appends: a question, maybe some tool use, an answer."""
    asked = ChatMessage(role="user", text=draw(TEXTS))
    tools: list[ChatMessage] = []
    for _ in range(draw(st.integers(0, 2))):
        ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
        tools.append(
            ChatMessage(role="assistant", tool_calls=tuple(ToolCall(id=one, name="t") for one in ids))
        )
        results = tuple(ToolResult(id=one, content=draw(TEXTS)) for one in ids)
        tools.append(ChatMessage(role="user", tool_results=results))
    return (asked, *tools, ChatMessage(role="assistant", text=draw(TEXTS)))


MESSAGES = st.builds(
    ChatMessage,
    role=st.sampled_from(["user", "assistant"]),
    text=TEXTS,
    tool_calls=st.lists(st.builds(ToolCall, id=IDS, name=IDS), max_size=2).map(tuple),
    tool_results=st.lists(st.builds(ToolResult, id=IDS), max_size=2).map(tuple),
)


def valid(messages: Messages) -> bool:
    """Starts with a user's own message; each tool call is answered by the next message, each result asked for."""
    if messages and (messages[0].role != "user" or messages[0].tool_results):
        return False
    for before, after in zip((None, *messages), (*messages, None), strict=True):
        asked = {call.id for call in before.tool_calls} if before else set()
        answered = {result.id for result in after.tool_results} if after else set()
        if asked != answered:
            return False
    return True


def size(messages: Messages) -> int:
    """Bytes of all texts."""
    texts = [message.text for message in messages]
    texts += [result.content for message in messages for result in message.tool_results]
    return sum(len(text.encode()) for text in texts)


@settings(deadline=None)  # a busy machine is no defect
@given(st.lists(exchanges(), max_size=12))
def test_a_conversation_grows_turn_by_turn(turns: list[Messages]) -> None:
    """After each turn: valid, within the bound, and a suffix of all that was said."""
    kept: Messages = ()
    said: Messages = ()
    for turn in turns:
        kept, said = extend(kept, turn), said + turn
        assert valid(kept)
        assert len(kept) <= MAX_MESSAGES
        assert kept == said[len(said) - len(kept) :]


@settings(deadline=None)  # a busy machine is no defect
@given(st.lists(exchanges(), max_size=8), st.integers(1, 10), st.integers(1, 400))
def test_both_bounds_hold(turns: list[Messages], limit: int, max_bytes: int) -> None:
    """Whatever the bounds, what is left is within them, valid, and a suffix."""
    messages = tuple(message for turn in turns for message in turn)
    kept = bounded(messages, limit=limit, max_bytes=max_bytes)
    assert valid(kept)
    assert (len(kept) <= limit, size(kept) <= max_bytes) == (True, True)
    assert kept == messages[len(messages) - len(kept) :]


@settings(deadline=None)  # a busy machine is no defect
@given(st.lists(exchanges(), min_size=1, max_size=4))
def test_nothing_is_cut_that_fits(turns: list[Messages]) -> None:
    """Below the bounds the whole conversation is kept."""
    messages = tuple(message for turn in turns for message in turn)
    assert bounded(messages, limit=len(messages)) == messages


@settings(deadline=None)  # a busy machine is no defect
@given(st.lists(MESSAGES, max_size=10).map(tuple))
def test_anything_can_be_repaired(messages: Messages) -> None:
    """H2: whatever a crash left, what is asked of the model is valid, and what is valid stays as it is."""
    mended = repaired(messages)
    assert valid(mended)
    assert repaired(mended) == mended


@settings(deadline=None)  # a busy machine is no defect
@given(st.lists(exchanges(), max_size=4), st.integers(0, 20))
def test_a_conversation_cut_between_call_and_result_is_repaired(turns: list[Messages], cut: int) -> None:
    """The open call is left out, all complete ones before it stay."""
    messages = tuple(message for turn in turns for message in turn)[:cut]
    mended = repaired(messages)
    assert valid(mended)
    assert len(messages) - len(mended) <= 1


def test_a_message_over_the_bound_is_not_kept() -> None:
    """One giant does not stay for ever, and does not break the conversation."""
    giant = ChatMessage(role="user", text="x" * (MAX_BYTES + 1))
    answer = ChatMessage(role="assistant", text="y")
    assert extend((), (giant, answer)) == ()
    small = ChatMessage(role="user", text="z")
    assert extend((giant, answer), (small, answer)) == (small, answer)
