"""No error and no log line of the Bot API's client shows the token."""

import logging
import socket
import traceback
from collections import Counter
from typing import Any

import pytest

from actors.ports import NotSent, TelegramError
from tests.app.telegram.client_kit import SENT, SHORT, TOKEN, client_of
from tests.app.telegram.scripted_api import Hang, Reset, Say, Step, no, scripted_api

pytestmark = pytest.mark.usefixtures("no_waiting")

ECHO = f"Bad Request: no such thing as /bot{TOKEN}/x"


def everything_said(error: BaseException | None) -> str:
    """Give all that a log could show of an error: text, repr, arguments, traceback, causes and contexts."""
    if error is None:
        return ""
    formatted = "".join(traceback.format_exception(error))
    own = f"{error} {error!r} {error.args!r} {vars(error)!r} {formatted}"
    return own + everything_said(error.__cause__) + everything_said(error.__context__)


@pytest.mark.parametrize(
    "step",
    [
        Hang(),
        Reset(),
        Reset(read=False),
        Say(body=ECHO.encode()),
        Say(body=SENT.body, cut=3),
        Say(body=b'{"ok": true, "result": 5}'),
        Say(status=502, body=ECHO.encode()),
        Say(status=301, headers=f"Location: /bot{TOKEN}/x\r\n"),
        Say(status=200, headers="Content-Encoding: gzip\r\n", body=b"no gzip"),
        Say(status=200, headers="Transfer-Encoding: chunked\r\n", body=b"no chunks"),
        Say(status=200, headers="x" * 10_000 + "\r\n"),
        no(400, ECHO),
        no(401, ECHO),
        no(429, ECHO, retry_after=1),
        no(500, ECHO),
    ],
)
@pytest.mark.parametrize("call", ["send_message", "connect", "answer_callback_query"])
async def test_the_token_is_in_no_error(
    step: Step, call: str, caplog: pytest.LogCaptureFixture, injected: Counter[str]
) -> None:
    """Neither an error, nor what caused it, nor a log line shows the token that stands in the URL."""
    caplog.set_level(logging.DEBUG)
    injected[type(step).__name__] += 1
    arguments: tuple[Any, ...] = {"send_message": (7, "hi"), "answer_callback_query": ("c1",)}.get(call, ())
    async with scripted_api(step) as api, client_of(api.url, SHORT) as client:
        with pytest.raises(TelegramError) as caught:
            await getattr(client, call)(*arguments)
    assert api.calls == [] or TOKEN in api.calls[0].path  # it was there to be seen
    seen = everything_said(caught.value) + caplog.text + repr(client) + repr(caplog.records)
    assert "CANARY" not in seen


async def test_the_token_is_in_no_error_of_connecting(caplog: pytest.LogCaptureFixture) -> None:
    """The same where no connection comes about."""
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
    async with client_of(url) as client:
        with pytest.raises(NotSent) as caught:
            await client.connect()
    assert "CANARY" not in everything_said(caught.value) + caplog.text
