"""What can go wrong with Anthropic's API: one line for the user, one for the operator, whether to retry.

    AnthropicFailure (a ModelError)
    ├── BUSY         retry      429, 529 and their errors within a stream
    ├── BROKEN       retry      5xx, 408, 409
    ├── UNREACHABLE  retry      no connection, or it was lost
    ├── SLOW         retry      nothing came in time, or not all of it
    ├── UNREADABLE   retry      a stream that ends early or makes no sense
    ├── EMPTY        retry      a whole answer without text and without a tool call
    ├── TOO_LONG     no retry   the conversation does not fit into the model's window
    ├── SETUP        no retry   key, billing, permission, unknown model: an operator's matter
    └── REFUSED      no retry   any other refusal of the request

`detail` holds statuses, kinds and request ids only: a body or an SDK's message may quote the key or the user.
"""

import re
from typing import Final

import httpx2
from anthropic import AnthropicError, APIConnectionError, APIStatusError, APITimeoutError

from actors.ports import ModelError
from contracts.base import Value

SDK_ERRORS: Final = (AnthropicError, httpx2.HTTPError, httpx2.StreamError, ValueError)
"""All that a call or its stream raises; ValueError: bytes in the stream that are no UTF-8 or no JSON."""


class Problem(Value, frozen=True, kw_only=True):
    """A kind of failure; `notice` is for the user, `alarm` says that only an operator can mend it."""

    name: str
    notice: str
    retry: bool = False
    alarm: bool = False


BUSY: Final = Problem(name="busy", retry=True, notice="The model is very busy. Please try again in a minute.")
BROKEN: Final = Problem(
    name="broken", retry=True, notice="The model had a fault. Please try again in a minute."
)
UNREACHABLE: Final = Problem(
    name="unreachable", retry=True, notice="I could not reach the model. Please try again in a minute."
)
SLOW: Final = Problem(name="slow", retry=True, notice="The model took too long. Please try again.")
UNREADABLE: Final = Problem(
    name="unreadable", retry=True, notice="The model's answer was cut off. Please try again."
)
EMPTY: Final = Problem(name="empty", retry=True, notice="The model gave no usable answer. Please ask again.")
TOO_LONG: Final = Problem(
    name="too_long", notice="That is more text than the model can read at once. Please shorten it."
)
SETUP: Final = Problem(
    name="setup",
    alarm=True,
    notice="The model is not available: its access has to be set right by the operator.",
)
REFUSED: Final = Problem(name="refused", notice="The model could not work on this request.")

_BY_STATUS: Final = {
    401: SETUP, 402: SETUP, 403: SETUP, 404: SETUP,
    408: BROKEN, 409: BROKEN, 413: TOO_LONG, 429: BUSY, 529: BUSY,
}  # fmt: skip
_BY_TYPE: Final = {  # an error within a 200 stream has no status of its own
    "authentication_error": SETUP,
    "billing_error": SETUP,
    "permission_error": SETUP,
    "not_found_error": SETUP,
    "rate_limit_error": BUSY,
    "overloaded_error": BUSY,
    "api_error": BROKEN,
    "timeout_error": SLOW,
    "request_too_large": TOO_LONG,
}
_TOO_LONG_TEXT: Final = re.compile(r"too long|context (?:window|limit|length)|exceed\w* .*context", re.I)
_BILLING_TEXT: Final = re.compile(r"credit balance|billing", re.I)
_SECONDS: Final = re.compile(r"\d{1,5}(?:\.\d{1,3})?")
_REQUEST_ID: Final = re.compile(r"[\w-]{1,64}")


class AnthropicFailure(ModelError):
    """The API gave no answer; `begun` says that part of one had come: another attempt pays twice."""

    def __init__(
        self, problem: Problem, detail: str, *, begun: bool = False, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(
            f"{problem.name}: {detail}",
            notice=problem.notice,
            retry=problem.retry,
            retry_after_s=retry_after_s,
        )
        self.problem, self.begun = problem, begun


def failure_of(error: Exception, *, begun: bool = False) -> AnthropicFailure:
    """Give what one of SDK_ERRORS means."""
    match error:
        case APIStatusError():
            hint = _retry_after_s(error.response.headers.get("retry-after", ""))
            return AnthropicFailure(_problem_of(error), _detail(error), begun=begun, retry_after_s=hint)
        case APITimeoutError() | httpx2.TimeoutException():
            return AnthropicFailure(SLOW, type(error).__name__, begun=begun)
        case APIConnectionError() | httpx2.HTTPError():
            return AnthropicFailure(UNREACHABLE, type(error).__name__, begun=begun)
        case _:
            return AnthropicFailure(UNREADABLE, type(error).__name__, begun=begun)


def _problem_of(error: APIStatusError) -> Problem:
    status, kind = error.status_code, str(error.type)
    if known := _BY_STATUS.get(status) or (_BY_TYPE.get(kind) if status < 300 else None):
        return known
    if status >= 500:
        return BROKEN
    said = error.api_message if isinstance(error.api_message, str) else ""
    if _TOO_LONG_TEXT.search(said):  # the API has no error type of its own for this
        return TOO_LONG
    return SETUP if _BILLING_TEXT.search(said) else REFUSED


def _detail(error: APIStatusError) -> str:
    known = error.type if error.type in _BY_TYPE or error.type == "invalid_request_error" else "error"
    request = error.request_id if _REQUEST_ID.fullmatch(error.request_id or "") else "-"
    return f"status {error.status_code}, {known}, request {request}"


def _retry_after_s(header: str) -> float:
    """Read seconds; a date, or nonsense, is no hint."""
    return float(header) if _SECONDS.fullmatch(header.strip()) else 0.0
