"""The world as the actors' ports see it, in memory: time, chance, Telegram, a model, and kill -9."""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import msgspec

from actors.ports import (
    Background,
    Chance,
    Clock,
    Completion,
    Model,
    ModelError,
    Prompt,
    Renderer,
    Telegram,
    TelegramError,
    TextTooLong,
    ThreadGone,
)
from contracts.turns import Button, Chunk, Entity

T = TypeVar("T")


class Life:
    """A container's life, in steps: each call to the outside is one before and one after its effect."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.steps, self._dies_at = 0, dies_at
        self.over = self.buried = False

    async def step(self) -> None:
        """Go on living, or stand still for ever."""
        self.steps += 1
        if self._dies_at is not None and self.steps > self._dies_at:
            self.over = True
        await asyncio.sleep(0)
        if self.buried:
            raise asyncio.CancelledError
        if self.over:
            await asyncio.get_running_loop().create_future()

    def die_after(self, steps: int) -> None:
        """Stand still after so many more steps."""
        self._dies_at = self.steps + steps

    def end(self) -> None:
        """kill -9: no step further, no cleaning up."""
        self.over = True


class VirtualClock(Clock):
    """The loop's own time; sleeping belongs to a life."""

    def __init__(self, life: Life | None = None) -> None:
        self._life = life or Life()

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    def unix_s(self) -> float:
        return 1_700_000_000.0 + self.monotonic_s()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._life.over or self._life.buried:
            await self._life.step()


class SeededChance(Chance):
    """Randomness that repeats itself; the prefix keeps two containers' tokens apart."""

    def __init__(self, prefix: str = "t", seed: int = 0) -> None:
        self._prefix, self._random, self._tokens = prefix, random.Random(seed), 0

    def token(self) -> str:
        self._tokens += 1
        return f"{self._prefix}-{self._tokens}"

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)


class KitBackground(Background):
    """Tasks of one container, begun while the gate is open; failures are kept for the test to look at.

    `computed` counts the work that was handed over.
    """

    def __init__(self, life: Life | None = None) -> None:
        self._life = life or Life()
        self.tasks: set[asyncio.Task[object]] = set()
        self.failures: list[BaseException] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.computed = 0

    def spawn(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        if self._life.over:
            return

        async def run() -> object:
            await self.gate.wait()
            return await work()

        task: asyncio.Task[object] = asyncio.create_task(run(), name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.failures.append(failure)

    async def compute(self, work: Callable[[], T]) -> T:
        self.computed += 1
        await self._life.step()
        return work()

    async def drain(self, deadline_s: float) -> int:
        running = self.tasks - {asyncio.current_task()}
        if not running:
            return 0
        _, late = await asyncio.wait(running, timeout=deadline_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)


class Shown(msgspec.Struct, frozen=True):
    """A message that the chat sees."""

    chat: int
    text: str
    entities: tuple[Entity, ...] = ()
    buttons: tuple[Button, ...] = ()
    thread: int = 0


class Screen:
    """What all chats see, whichever container sent it, and how the next sends go."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self.outcomes: dict[int, deque[TelegramError | Literal["ok"]]] = defaultdict(deque)
        self.lost: deque[TelegramError] = deque()
        self.chaos: Callable[[], tuple[bool, TelegramError | None]] = lambda: (True, None)
        self.tried: Counter[int] = Counter()
        self.typing: Counter[int] = Counter()
        self.typing_in: set[tuple[int, int]] = set()
        self.gone_threads: set[int] = set()
        self.took_s = 0.0
        self.longest = 1 << 30  # characters of a text that is taken

    def texts(self, chat: int) -> list[str]:
        """What this chat was told, in order."""
        return [each.text for each in self.shown if each.chat == chat]


class FakeTelegram(Telegram):
    """One container's Bot API client."""

    def __init__(self, screen: Screen, life: Life | None = None) -> None:
        self._screen, self._life = screen, life or Life()
        self.refused: TelegramError | None = None
        self.closed = False

    async def connect(self) -> None:
        await self._life.step()
        if self.refused is not None:
            raise self.refused

    async def send_message(
        self,
        chat: int,
        text: str,
        entities: Sequence[Entity] = (),
        buttons: Sequence[Button] = (),
        *,
        thread: int = 0,
    ) -> int:
        assert not self.closed, "a send after close"
        await self._life.step()
        self._screen.tried[chat] += 1
        visible, error = self._outcome(chat, text, thread)
        if self._screen.took_s:
            await asyncio.sleep(self._screen.took_s)
        if visible:
            self._screen.shown.append(Shown(chat, text, tuple(entities), tuple(buttons), thread))
        await self._life.step()
        if error is not None:
            raise error
        return len(self._screen.shown)

    def _outcome(self, chat: int, text: str, thread: int) -> tuple[bool, TelegramError | None]:
        if thread in self._screen.gone_threads:
            return False, ThreadGone("message thread not found")
        if len(text) > self._screen.longest:
            return False, TextTooLong("message is too long")
        if self._screen.lost:
            return True, self._screen.lost.popleft()
        if not self._screen.outcomes[chat]:
            return self._screen.chaos()
        outcome = self._screen.outcomes[chat].popleft()
        return (True, None) if outcome == "ok" else (False, outcome)

    async def send_typing(self, chat: int, *, thread: int = 0) -> None:
        await self._life.step()
        self._screen.typing[chat] += 1
        self._screen.typing_in.add((chat, thread))

    async def close(self) -> None:
        self.closed = True


class FakeModel(Model):
    """Answers `echo: TASK` unless told otherwise; `script` holds what comes first."""

    name = "fake"

    def __init__(self, life: Life | None = None) -> None:
        self._life = life or Life()
        self.script: deque[str | Exception | Completion] = deque()
        self.chaos: Callable[[Prompt], str | Exception | Completion | None] = lambda _: None
        self.took_s = 0.0
        self.asked: list[Prompt] = []
        self.refused: ModelError | None = None

    async def connect(self) -> None:
        await self._life.step()
        if self.refused is not None:
            raise self.refused

    async def answer(self, prompt: Prompt) -> Completion:
        self.asked.append(prompt)
        await self._life.step()
        if self.took_s:
            await asyncio.sleep(self.took_s)
        await self._life.step()
        said = self.script.popleft() if self.script else self.chaos(prompt)
        said = said if said is not None else f"echo: {prompt.messages[-1].text}"
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Completion) else Completion(text=said)

    async def close(self) -> None:
        pass  # nothing to give back


LEAST = 2  # characters of a half


class BarRenderer(Renderer):
    """A chunk for each part between bars; bold ones carry an entity."""

    def render(self, markdown: str) -> tuple[Chunk, ...]:
        return tuple(Chunk(text=part, entities=_bold(part)) for part in markdown.split("|"))

    def halve(self, chunk: Chunk) -> tuple[Chunk, ...]:
        half = len(chunk.text) // 2
        if half < LEAST:
            return ()
        return Chunk(text=chunk.text[:half]), Chunk(text=chunk.text[half:], buttons=chunk.buttons)


def _bold(part: str) -> tuple[Entity, ...]:
    return (Entity(type="bold", offset=0, length=len(part)),) if part.startswith("*") else ()
