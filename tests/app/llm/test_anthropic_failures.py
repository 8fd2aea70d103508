"""Tests of the Anthropic model's failures: retried before the first token, given up, or too long to answer."""

import asyncio
import logging
import traceback

import pytest
from structlog.testing import capture_logs

from actors.ports import ModelError, Prompt
from app.llm.anthropic import AnthropicModel, Patience
from contracts.turns import ChatMessage
from tests.app.llm.anthropic_kit import HELLO, KEY, QUICK, SAID, Serve
from tests.app.llm.messages_api import (
    START,
    Play,
    answers,
    drops,
    error,
    hangs,
    messages_api,
    raw,
    says,
    streams,
    text_events,
)

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
