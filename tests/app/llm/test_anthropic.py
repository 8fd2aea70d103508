"""Tests of the Anthropic model against a real HTTP server that speaks its streaming protocol."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from actors.ports import Completion, Model, ModelError, Prompt, ToolSpec
from app.llm.anthropic import AnthropicModel, Patience
from app.llm.anthropic_stream import CUT_NOTE, REFUSAL
from contracts.turns import ChatMessage, ToolCall
from tests.app.llm.messages_api import (
    PING,
    START,
    STOP,
    MessagesApi,
    Play,
    answers,
    drops,
    end,
    error,
    hangs,
    messages_api,
    raw,
    says,
    streams,
    text_events,
    tool_events,
)

KEY = "sk-ant-canary-4711"
SAID = "what the user had said"
QUICK = Patience(connect_s=0.5, idle_s=0.2, total_s=1.5, warm_s=0.2, first_wait_s=0.001)
HELLO = Prompt(system="You help.", messages=(ChatMessage(role="user", text=SAID),))

Serve = Callable[..., Awaitable[tuple[MessagesApi, Model]]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server with a script, and a model that asks it."""
    async with AsyncExitStack() as stack:

        async def start(
            *script: Play, patience: Patience = QUICK, **settings: int
        ) -> tuple[MessagesApi, Model]:
            api = await stack.enter_async_context(messages_api(*script))
            model = AnthropicModel("test", KEY, api.url, patience=patience, **settings)
            stack.push_async_callback(model.close)
            return api, model

        yield start


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


# ---------------------------------------------------------------- retried before the first token

TRANSIENT = {
    "529": answers(529, "overloaded_error"),
    "429": answers(429, "rate_limit_error"),
    "500": answers(500),
    "502 with HTML": raw(b"<html>bad gateway</html>", "text/html"),
    "no answer at all": drops,
    "silence": hangs,
    "overload as first event": streams(error("overloaded_error")),
    "overload before the first token": streams(START, error("overloaded_error")),
    "cut before the first token": streams(START, cut=True),
    "stall before the first token": streams(START, stall=True),
    "empty stream": raw(b""),
    "no JSON": raw(b"event: message_start\ndata: {nonsense\n\n"),
    "no UTF-8": raw(b"event: message_start\ndata: \xff\xfe\n\n"),
}


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_a_fault_before_the_first_token_is_retried(serve: Serve, fault: Play) -> None:
    """What passes by itself is asked again, and the user sees the answer only."""
    api, model = await serve(fault, says("after all"))
    assert (await model.answer(HELLO)).text == "after all"
    assert len(api.asked) == 2


@pytest.mark.parametrize("fault", [answers(529, "overloaded_error"), drops, streams(START, cut=True)])
async def test_retries_are_bounded(serve: Serve, fault: Play) -> None:
    """A fault that stays is given up after `attempts`, with a notice that invites to try again."""
    api, model = await serve(fault)
    with pytest.raises(ModelError) as failure:
        await model.answer(HELLO)
    assert (QUICK.attempts, True) == (len(api.asked), failure.value.retry)


async def test_retry_after_is_honoured(serve: Serve) -> None:
    """The wait that the API asks for stands in for our own."""
    slow_to_retry = Patience(first_wait_s=30.0, total_s=2.0)  # its own wait would be over the budget
    busy = answers(429, "rate_limit_error", headers={"retry-after": "0.05"})
    _, model = await serve(busy, says("now"), patience=slow_to_retry)
    assert (await model.answer(HELLO)).text == "now"


@pytest.mark.parametrize(
    ("header", "expected"),
    [("300", 300.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("nan", 0.0), ("-5", 0.0)],
)
async def test_retry_after_beyond_the_budget_is_left_to_the_caller(
    serve: Serve, header: str, expected: float
) -> None:
    """A wait that no turn can hold is reported; one that is no number of seconds is no hint."""
    api, model = await serve(answers(429, "rate_limit_error", headers={"retry-after": header}))
    with pytest.raises(ModelError) as failure:
        await model.answer(HELLO)
    assert (expected, True) == (failure.value.retry_after_s, failure.value.retry)
    assert (1 if expected else QUICK.attempts) == len(api.asked)


# ---------------------------------------------------------------- given up

LATE = {
    "overload": streams(START, *text_events("Well,"), error("overloaded_error")),
    "cut": streams(START, *text_events("Well,"), cut=True),
    "stall": streams(START, *text_events("Well,"), stall=True),
    "no end": streams(START, *text_events("Well,")),
}


@pytest.mark.parametrize("fault", LATE.values(), ids=LATE.keys())
async def test_a_fault_after_the_first_token_is_not_paid_twice(serve: Serve, fault: Play) -> None:
    """An answer that breaks off is one failure, and asking again is left to the user."""
    api, model = await serve(fault, says("unexpected"))
    with pytest.raises(ModelError) as failure:
        await model.answer(HELLO)
    assert (len(api.asked), failure.value.retry) == (1, True)


FINAL = {
    "key": answers(401, "authentication_error", f"invalid x-api-key {KEY}"),
    "billing": answers(402, "billing_error"),
    "credit": answers(400, "invalid_request_error", "Your credit balance is too low"),
    "permission": answers(403, "permission_error"),
    "unknown model": answers(404, "not_found_error"),
    "bad request": answers(400, "invalid_request_error", f"messages: {SAID} {KEY}"),
    "key, in the stream": streams(START, error("authentication_error", KEY)),
    "unknown, in the stream": streams(START, error("novel_error", KEY)),
}
ALARMING = {"key", "billing", "credit", "permission", "unknown model", "key, in the stream"}


@pytest.mark.parametrize("case", FINAL)
async def test_what_asking_again_cannot_mend_is_not_retried(serve: Serve, case: str) -> None:
    """A refusal is asked once; what only an operator can mend is logged as an error for them."""
    api, model = await serve(FINAL[case])
    with capture_logs() as logs, pytest.raises(ModelError) as failure:
        await model.answer(HELLO)
    alarms = [line["event"] for line in logs if line["log_level"] == "error"]
    assert (len(api.asked), failure.value.retry) == (1, False)
    assert (["model_refuses_us"] if case in ALARMING else []) == alarms


@pytest.mark.parametrize("case", [*FINAL, *TRANSIENT])
async def test_the_key_and_the_message_are_in_no_error_and_no_log(
    serve: Serve, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a server echoes: errors with their causes, notices and logs stay clean."""
    caplog.set_level(logging.INFO)
    _, model = await serve((FINAL | TRANSIENT)[case])
    with capture_logs() as logs:
        await model.connect()
        with pytest.raises(ModelError) as failure:
            await model.answer(HELLO)
    traced = "".join(traceback.format_exception(failure.value))
    seen = f"{traced} {failure.value.notice} {logs} {caplog.text}"
    assert [secret for secret in (KEY, "canary", SAID) if secret in seen] == []


@pytest.mark.parametrize("parts", [(), ("",), (" \n",)])
async def test_an_empty_answer_is_a_failure(serve: Serve, parts: tuple[str, ...]) -> None:
    """An answer without text is never sent on as one."""
    _, model = await serve(says(*parts))
    with pytest.raises(ModelError, match="empty"):
        await model.answer(HELLO)


async def test_the_budget_holds_over_all_attempts(serve: Serve) -> None:
    """A stream that drips within the idle limit still ends at the total budget."""
    api, model = await serve(hangs, patience=Patience(idle_s=5.0, total_s=0.1))
    with pytest.raises(ModelError, match=r"within 0\.1 s") as failure:
        await model.answer(HELLO)
    assert (len(api.asked), failure.value.retry) == (1, True)


async def test_cancelling_a_turn_ends_its_call(serve: Serve) -> None:
    """A container that stops is not held up by a retry, and the cancellation is not taken for an answer."""
    _, model = await serve(streams(START, *text_events("Well,"), stall=True), patience=Patience())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(model.answer(HELLO), 0.05)


async def test_given_up_calls_leave_their_connections_usable(serve: Serve) -> None:
    """After many stalls the pool is not used up."""
    stalls = [streams(START, *text_events("Well,"), stall=True)] * 120
    _, model = await serve(*stalls, says("fine"), patience=Patience(idle_s=0.05, attempts=1))
    for _ in range(3):
        failed = await asyncio.gather(*(model.answer(HELLO) for _ in range(40)), return_exceptions=True)
        assert {"AnthropicFailure"} == {type(failure).__name__ for failure in failed}
    assert (await model.answer(HELLO)).text == "fine"


async def test_nobody_listening_is_a_failure_to_try_again() -> None:
    """A port without a server gives one typed failure."""
    async with messages_api() as api:
        url = api.url
    model = AnthropicModel("test", KEY, url, patience=QUICK)
    with pytest.raises(ModelError, match="unreachable") as failure:
        await model.answer(HELLO)
    await model.close()
    assert failure.value.retry


# ---------------------------------------------------------------- too long

TALK = tuple(
    ChatMessage(role=role, text=f"{role} {number}") for number in range(4) for role in ("user", "assistant")
)
LONG = Prompt(system="", messages=(*TALK, ChatMessage(role="user", text="and now?")))
TOO_LONG = {
    "400": answers(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    "413": answers(413, "request_too_large", "Request exceeds the maximum size"),
}


@pytest.mark.parametrize("fault", TOO_LONG.values(), ids=TOO_LONG.keys())
async def test_a_conversation_that_is_too_long_is_halved_once(serve: Serve, fault: Play) -> None:
    """The older half is left out, the question is not."""
    api, model = await serve(fault, says("short"))
    assert (await model.answer(LONG)).text == "short"
    first, second = (len(asked["messages"]) for asked in api.asked)
    assert (first, second) == (9, 3)
    assert api.asked[1]["messages"][-1]["content"][0]["text"] == "and now?"


@pytest.mark.parametrize(("prompt", "times"), [(LONG, 2), (HELLO, 1)])
async def test_a_question_that_is_too_long_is_a_failure(serve: Serve, prompt: Prompt, times: int) -> None:
    """After one halving, or with nothing to leave out, the user is asked for less text."""
    api, model = await serve(TOO_LONG["400"])
    with pytest.raises(ModelError) as failure:
        await model.answer(prompt)
    assert (times, False) == (len(api.asked), failure.value.retry)


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
