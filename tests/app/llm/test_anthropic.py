"""Tests of the Anthropic model against a real HTTP server that speaks its streaming protocol."""

import pytest

from actors.ports import Completion, ModelError, Prompt, ToolSpec
from app.llm.anthropic import AnthropicModel, Patience
from app.llm.anthropic_stream import CUT_NOTE, REFUSAL
from contracts.turns import ToolCall
from tests.app.llm.anthropic_kit import HELLO, KEY, QUICK, Serve
from tests.app.llm.messages_api import (
    PING,
    START,
    STOP,
    end,
    messages_api,
    says,
    streams,
    text_events,
    tool_events,
)


async def test_streamed_text_is_given_whole(serve: Serve) -> None:
    """The parts of a stream come together, pings are passed over, cached tokens count as input."""
    _, model = await serve(streams(START, PING, *text_events("Hel", "lo", "!"), *end()))
    expected = Completion(text="Hello!", stop="end", input_tokens=42, output_tokens=7)
    assert expected == await model.answer(HELLO)


async def test_tool_calls_are_given_with_their_arguments(serve: Serve) -> None:
    """A tool call's arguments arrive in pieces and are given as one JSON text."""
    call = tool_events("find", '{"q": ', '"rome"}')
    _, model = await serve(streams(START, *text_events("Looking."), *call, *end("tool_use")))
    completion = await model.answer(HELLO)
    assert (ToolCall(id="toolu_1", name="find", arguments='{"q": "rome"}'),) == completion.tool_calls
    assert (completion.text, completion.stop) == ("Looking.", "tools")


async def test_a_call_without_arguments_is_an_empty_object(serve: Serve) -> None:
    """A tool without parameters is called with `{}`."""
    _, model = await serve(streams(START, *tool_events("now", index=0), *end("tool_use")))
    assert (ToolCall(id="toolu_1", name="now", arguments="{}"),) == (await model.answer(HELLO)).tool_calls


async def test_a_cut_tool_call_never_runs(serve: Serve) -> None:
    """Arguments that are no whole JSON object drop the call; the text remains an answer."""
    events = [*text_events("Let me see."), *tool_events("pay", '{"amount": 1')]
    _, model = await serve(streams(START, *events, *end("tool_use")))
    completion = await model.answer(HELLO)
    assert (completion.text, completion.tool_calls, completion.stop) == ("Let me see.", (), "end")


async def test_tool_call_cut_by_max_tokens_is_dropped(serve: Serve) -> None:
    """An answer cut at its length keeps its text, says so, and calls nothing."""
    events = [*text_events("Paying"), *tool_events("pay", '{"amount": 10}')]
    _, model = await serve(streams(START, *events, *end("max_tokens")))
    completion = await model.answer(HELLO)
    assert (completion.tool_calls, completion.stop) == ((), "length")


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
async def test_answer_cut_at_its_length_says_so(serve: Serve, reason: str) -> None:
    """The user sees that an answer is not whole."""
    _, model = await serve(says("Once upon", reason=reason))
    completion = await model.answer(HELLO)
    assert (f"Once upon\n\n{CUT_NOTE}", "length") == (completion.text, completion.stop)


@pytest.mark.parametrize(
    ("parts", "text"), [(("a\ud83d", "\ude00b"), "a\U0001f600b"), (("a\ud83d", " b"), "a\ufffd b")]
)
async def test_a_character_cut_by_a_delta_is_whole_again(
    serve: Serve, parts: tuple[str, str], text: str
) -> None:
    """Two halves in two deltas make one character; a half alone, which no message could carry, is replaced."""
    _, model = await serve(streams(START, *text_events(*parts), *end()))
    assert text == (await model.answer(HELLO)).text


async def test_huge_answer_is_bounded(serve: Serve) -> None:
    """More text than the bound is not kept, and the stream is left."""
    parts = ["x" * 100] * 50
    _, model = await serve(streams(START, *text_events(*parts), stall=True), max_chars=250)
    completion = await model.answer(HELLO)
    assert (f"{'x' * 250}\n\n{CUT_NOTE}", "length") == (completion.text, completion.stop)


async def test_answer_as_long_as_the_bound_is_whole(serve: Serve) -> None:
    """An answer of which nothing was left out is not called cut."""
    _, model = await serve(streams(START, *text_events("x" * 200, "y" * 50), *end()), max_chars=250)
    completion = await model.answer(HELLO)
    assert ("x" * 200 + "y" * 50, "end") == (completion.text, completion.stop)


async def test_refusal_shows_nothing_of_what_came_before(serve: Serve) -> None:
    """What a model had written before it refused is not shown."""
    _, model = await serve(says("First you take", reason="refusal"))
    completion = await model.answer(HELLO)
    assert (completion.text, completion.stop) == (REFUSAL, "refusal")


async def test_unknown_events_are_passed_over(serve: Serve) -> None:
    """Events, blocks and deltas that this version does not know change nothing."""
    news = [
        {"type": "sparkle", "level": 3},
        {"type": "content_block_start", "index": 5, "content_block": {"type": "hologram"}},
        {"type": "content_block_delta", "index": 5, "delta": {"type": "hologram_delta", "ray": 1}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}},
        {
            "type": "content_block_delta",
            "index": 9,
            "delta": {"type": "input_json_delta", "partial_json": "{"},
        },
    ]
    _, model = await serve(streams(START, *news, *text_events("fine"), *end()))
    assert (await model.answer(HELLO)).text == "fine"


# ---------------------------------------------------------------- connection and setup


async def test_connect_opens_the_connection_that_answers_use(serve: Serve) -> None:
    """The first answer goes over the connection that `connect` opened."""
    api, model = await serve()
    await model.connect()
    await model.answer(HELLO)
    assert (api.looked_up, len(api.connections)) == (["test"], 1)


async def test_a_connection_that_can_not_be_had_is_a_failure() -> None:
    """An API that is away is told, and worth another try; warming reports it and goes on without."""
    async with messages_api() as api:
        url = api.url
    model = AnthropicModel("test", KEY, url, patience=QUICK)
    with pytest.raises(ModelError) as failure:
        await model.connect()
    await model.close()
    assert (str(failure.value), failure.value.retry) == ("unreachable: APIConnectionError", True)


async def test_connect_gives_up_at_its_deadline(serve: Serve) -> None:
    """An API that takes the connection and says nothing holds up a container for `warm_s` at most."""
    api, model = await serve(patience=Patience(warm_s=0.05))
    api.mute = True
    with pytest.raises(ModelError) as failure:
        await model.connect()
    assert str(failure.value) == "slow: no connection within 0.05 s"


async def test_a_prompt_without_a_question_costs_no_request(serve: Serve) -> None:
    """With nothing to ask, nothing is asked."""
    api, model = await serve()
    with pytest.raises(ModelError) as failure:
        await model.answer(Prompt(system="S", messages=()))
    assert (api.asked, failure.value.retry) == ([], False)


async def test_what_is_sent_is_what_the_prompt_says(serve: Serve) -> None:
    """System text, messages, tools and bound arrive; what is absent is left out of the body."""
    api, model = await serve()
    await model.answer(
        Prompt(
            system="S", messages=HELLO.messages, max_tokens=99, tools=(ToolSpec(name="t", description="d"),)
        )
    )
    await model.answer(Prompt(system="", messages=HELLO.messages))
    full, bare = api.asked
    assert {"model", "stream", "max_tokens", "messages", "system", "tools", "tool_choice"} == set(full)
    assert (full["model"], full["stream"], full["max_tokens"]) == ("test", True, 99)
    assert {"model", "stream", "max_tokens", "messages"} == set(bare)


async def test_close_is_idempotent(serve: Serve) -> None:
    """Closing twice is closing."""
    _, model = await serve()
    await model.close()
    await model.close()


@pytest.mark.parametrize("key", ["", "  ", f"{KEY}\n", "schlüssel"])
async def test_a_key_that_no_header_can_carry_is_refused_at_once(key: str) -> None:
    """A bad key is found at the start, and the error does not show it."""
    with pytest.raises(ValueError, match="API key") as refused:
        AnthropicModel("test", key)
    assert not key.strip() or key.strip() not in str(refused.value)


async def test_the_key_travels_in_its_header_only(serve: Serve) -> None:
    """One header carries the key, and nothing else of the request does."""
    api, model = await serve()
    await model.answer(HELLO)
    assert len([name for name, value in api.headers[0].items() if KEY in value]) == 1
    assert KEY not in str(api.asked)


async def test_a_stop_without_a_reason_is_an_end(serve: Serve) -> None:
    """`message_stop` alone ends an answer."""
    _, model = await serve(streams(START, *text_events("done"), STOP))
    completion = await model.answer(HELLO)
    assert (completion.text, completion.stop) == ("done", "end")
