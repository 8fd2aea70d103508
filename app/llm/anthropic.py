"""Claude behind the port `Model`, over Anthropic's SDK: streamed, watched, retried within one budget."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

import stamina
import structlog
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient, Timeout, omit
from httpx2 import Limits

from actors.ports import Completion, Prompt
from app.llm.anthropic_errors import REFUSED, SDK_ERRORS, SLOW, TOO_LONG, AnthropicFailure, failure_of
from app.llm.anthropic_request import Request, request_of, shortened
from app.llm.anthropic_stream import MAX_CHARS, StreamedAnswer
from contracts.base import Value

BASE_URL: Final = "https://api.anthropic.com"

_KEEP_ALIVE_S: Final = (
    240.0  # the library's 5 s would close what `connect` opened before the first turn needs it
)
_CONNECTIONS: Final = 100  # an agent container's inputs at once


class Patience(Value, frozen=True, kw_only=True):
    """How long is waited for what, in seconds."""

    connect_s: float = 5.0  # two lost packets of a handshake
    idle_s: float = 15.0  # between bytes; the API pings a live stream more often
    total_s: float = 40.0  # a turn has 60 s, and what follows the answer needs some
    warm_s: float = 3.0  # `connect` must not hold up a container
    first_wait_s: float = 0.5  # doubles with each retry, plus as much jitter
    attempts: int = 3


class AnthropicModel:
    """One model of Anthropic's. `api_key` goes into a header and nowhere else: no error, no log line."""

    def __init__(
        self,
        model: str,
        api_key: str,
        base_url: str = BASE_URL,
        *,
        patience: Patience | None = None,
        max_chars: int = MAX_CHARS,
    ) -> None:
        if not api_key.isascii() or not api_key.isprintable() or not api_key.strip():
            raise ValueError("the API key is empty or holds characters that no header can carry")
        self.name = f"anthropic:{model}"
        self._model, self._patience, self._max_chars = model, patience or Patience(), max_chars
        self._client = _client(api_key, base_url, self._patience)
        self._log = structlog.get_logger().bind(model=self.name)

    async def connect(self) -> None:
        """Open a connection by asking for the model's description; raises AnthropicFailure."""
        try:
            async with asyncio.timeout(self._patience.warm_s):
                await self._client.models.retrieve(self._model)
        except TimeoutError:
            raise AnthropicFailure(SLOW, f"no connection within {self._patience.warm_s:g} s") from None
        except SDK_ERRORS as error:
            raise failure_of(error) from None  # as in `_attempt`

    async def answer(self, prompt: Prompt) -> Completion:
        """Answer within `Patience.total_s`; raises ModelError."""
        try:
            async with asyncio.timeout(self._patience.total_s) as budget:
                return await self._answer_shortened(prompt, budget)
        except TimeoutError:
            raise AnthropicFailure(SLOW, f"no whole answer within {self._patience.total_s:g} s") from None
        except AnthropicFailure as failure:
            if failure.problem.alarm:
                self._log.error("model_refuses_us", error=str(failure))
            raise

    async def close(self) -> None:
        """Give connections back; idempotent."""
        await self._client.close()

    async def _answer_shortened(self, prompt: Prompt, budget: asyncio.Timeout) -> Completion:
        """Leave out the older half of a conversation that is too long, once: twice would lose the thread."""
        try:
            return await self._answer_retried(request_of(prompt), budget)
        except AnthropicFailure as failure:
            shorter = shortened(prompt) if failure.problem is TOO_LONG else None
            if shorter is None:
                raise
        return await self._answer_retried(request_of(shorter), budget)

    async def _answer_retried(self, request: Request, budget: asyncio.Timeout) -> Completion:
        # A context and not a decorator: stamina logs the arguments of what it calls, and ours hold messages.
        if not request.messages:
            raise AnthropicFailure(REFUSED, "the prompt holds no question")
        wait_s = self._patience.first_wait_s
        async for attempt in stamina.retry_context(
            on=_worth_retrying_within(budget),
            attempts=self._patience.attempts,
            timeout=None,  # the budget around it cuts off
            wait_initial=wait_s,
            wait_jitter=wait_s,
        ):
            with attempt:
                completion = await self._attempt(request)
        return completion

    async def _attempt(self, request: Request) -> Completion:
        answer = StreamedAnswer(self._max_chars)
        try:
            await self._stream(request, answer)
        except SDK_ERRORS as error:
            # `from None`: the SDK's errors quote bodies, which may hold the key or the user's words.
            raise failure_of(error, begun=answer.begun) from None
        return answer.completion()

    async def _stream(self, request: Request, answer: StreamedAnswer) -> None:
        stream = await self._client.messages.create(
            model=self._model,
            max_tokens=request.max_tokens,
            messages=request.messages,
            system=request.system or omit,
            tools=request.tools or omit,
            tool_choice=request.tool_choice if request.tools else omit,
            stream=True,
        )
        async with stream:
            async for event in stream:
                answer.take(event)
                if answer.full:
                    return


def _worth_retrying_within(budget: asyncio.Timeout) -> Callable[[Exception], bool | float]:
    """Give stamina's hook: retry before the first token only, after the API's own wait if the budget holds it."""
    deadline = budget.when() or math.inf

    def hook(error: Exception) -> bool | float:
        if not isinstance(error, AnthropicFailure) or not error.retry or error.begun:
            return False
        if asyncio.get_running_loop().time() + error.retry_after_s >= deadline:
            return False
        return error.retry_after_s or True

    return hook


def _client(api_key: str, base_url: str, patience: Patience) -> AsyncAnthropic:
    timeout = Timeout(patience.idle_s, connect=patience.connect_s)
    limits = Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_S)
    return AsyncAnthropic(
        api_key=api_key,
        base_url=base_url,
        timeout=timeout,
        max_retries=0,  # the SDK's retries know nothing of our budget
        http_client=DefaultAsyncHttpxClient(timeout=timeout, limits=limits, base_url=base_url),
    )
