"""A rehearsal comes to its end unseen, and a start goes on without one that does not."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from actors.ports import Completion, MaybeSent, NotSent, Prompt, Telegram
from actors.stores import StoreDown
from app import wiring
from app.chaos.virtual_loop import VirtualLoop, run_virtually
from app.dev import simulated
from app.fleet import stats_of
from app.llm.offline import OfflineModel
from app.rehearsal import DEADLINE_S, TURNS, Players, rehearse
from app.rehearsal_stage import BOT, CHAT, Parrot, Plain, Silent
from app.settings import Settings
from app.system import LocalSystem
from app.telegram.echo import echo
from app.telegram.render import MarkdownRenderer
from app.telegram.simulator import TelegramSimulator
from contracts.sessions import PatchSession, SessionPatch
from contracts.turns import Chunk
from contracts.warming import ActorStats
from tests.app.service_kit import settings

Rehearsal = Callable[[Settings], Awaitable[None]]


class Counted(Silent):
    """Counts what would have been sent, or refuses it."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.sent, self.refusal = 0, refusal

    async def send_message(self, chat: int, *given: Any, thread: int = 0) -> int:
        if self.refusal is not None:
            raise self.refusal
        self.sent += 1
        return self.sent

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Telegram]:
        """It, as players have it."""
        yield self


class Hanging(Parrot):
    """Does not answer while anybody waits."""

    async def answer(self, prompt: Prompt) -> Completion:
        await asyncio.sleep(10 * DEADLINE_S)
        return await super().answer(prompt)


class Broken(Plain):
    """Has a defect."""

    def render(self, markdown: str) -> tuple[Chunk, ...]:
        raise ZeroDivisionError("a defect of the renderer")


@asynccontextmanager
async def no_loopback() -> AsyncIterator[Telegram]:
    """A machine without a loopback address."""
    if CHAT:
        raise OSError("no such address")
    yield Silent()


def test_each_turn_is_played_to_its_end() -> None:
    """As many messages as turns reach the rehearsal's own Telegram, and nothing is told of it."""
    telegram = Counted()

    async def play(_: VirtualLoop) -> None:
        with structlog.testing.capture_logs() as told:
            await rehearse(Players(telegram.opened))
        assert [] == [event for event in told if event["log_level"] != "debug"]

    run_virtually(play)
    assert TURNS == telegram.sent


async def test_an_agent_rehearses_with_all_that_it_speaks_through() -> None:
    """The real client posts to a Bot API on loopback, over the real renderer and the model that asks nobody."""
    with structlog.testing.capture_logs() as told:
        await rehearse(Players(echo, MarkdownRenderer, OfflineModel), turns=2)
    assert ["turn_claimed"] * 2 == [event["event"] for event in told]


@pytest.mark.parametrize("rehearsal", [wiring.rehearse_owner, wiring.rehearse_agent])
async def test_each_container_rehearses_with_what_it_has(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """The turns are played where an owner stands alone, as where an agent does; neither store nor token is needed."""
    chosen = settings(tmp_path / "nowhere", telegram_token=None)
    with structlog.testing.capture_logs() as told:
        await rehearsal(chosen)
    assert ["turn_claimed"] * TURNS == [event["event"] for event in told]


async def test_an_echo_takes_messages_until_its_end() -> None:
    """A client of its own is answered; afterwards nobody listens."""
    async with echo() as telegram:
        assert 1 == await telegram.send_message(CHAT, "{one}")
        assert 1 == await telegram.send_message(CHAT, "two" * 30_000)  # comes in pieces
    with pytest.raises(NotSent):
        await telegram.send_message(CHAT, "three")
    await telegram.close()


@pytest.mark.parametrize(
    ("players", "why"),
    [
        (Players(no_loopback), "OSError: no such address"),
        (Players(renderer=Broken), "Unplayed: TurnsTaken expected, Internal"),
        (Players(model=Hanging), "TimeoutError: "),
        (Players(Counted(MaybeSent("cut")).opened), ""),
        (Players(Counted(ZeroDivisionError("a defect")).opened), "Unplayed: TurnsTaken expected, Internal"),
    ],
    ids=["no loopback", "renderer", "model", "unsure", "telegram"],
)
def test_a_start_goes_on_without_a_rehearsal_that_fails(players: Players, why: str) -> None:
    """Whatever it meets, it raises nothing, tells in one line, and takes no longer than its deadline."""

    async def play(loop: VirtualLoop) -> tuple[list[str], float]:
        began = loop.time()
        with structlog.testing.capture_logs() as told:
            await rehearse(players)
        lines = [event["error"] for event in told if event["event"] == "rehearsal_failed"]
        return lines, loop.time() - began

    lines, took_s = run_virtually(play)
    assert ([why] if why else []) == [line[: len(why)] for line in lines]
    assert took_s <= 2 * DEADLINE_S


@pytest.mark.parametrize("error", [StoreDown("locked"), TimeoutError(), IndexError("a defect")], ids=repr)
async def test_a_start_goes_on_without_a_store_that_rehearses(error: Exception) -> None:
    """A file that is locked, or a defect, costs one line of the log."""

    class Locked:
        async def rehearse(self) -> None:
            raise error

    with structlog.testing.capture_logs() as told:
        await wiring.rehearse_store(Locked())  # type: ignore[arg-type]  # no other call is made
    assert ["rehearsal_failed"] == [event["event"] for event in told]


def test_nobody_has_the_numbers_of_a_rehearsal() -> None:
    """Telegram's chats have 52 bits at most, and its bots and updates are numbered from 1."""
    assert CHAT >= 1 << 52
    assert BOT < 1


async def test_a_start_leaves_nothing_of_its_rehearsal_anywhere(tmp_path: Path) -> None:
    """Store, Telegram, and what the actors hold and count are as after a start that rehearses nothing."""
    async with TelegramSimulator() as telegram:
        chosen = simulated(settings(tmp_path), telegram, telegram.url)
        await _started(Writing(chosen))  # makes the file, with a session in it and an image of that
        telegram.server.calls.clear()
        told, rows, calls = await _started(Unrehearsed(chosen)), _rows(tmp_path), dict(telegram.server.calls)
        telegram.server.calls.clear()
        assert told == await _started(LocalSystem(chosen))
        assert rows == _rows(tmp_path)
        assert rows["sessions"]
        assert calls == dict(telegram.server.calls)
        assert "sendMessage" not in calls


# ---------------------------------------------------------------- helpers


class Unrehearsed(LocalSystem):
    """Starts as it would without a rehearsal."""

    async def _rehearse(self) -> None:
        pass


class Writing(Unrehearsed):
    """Writes a session when it has started."""

    async def start(self) -> None:
        await super().start()
        await self.fleet.sessions.of(1).ask(PatchSession(chat=1, patch=SessionPatch(mode="brief")))


async def _started(system: LocalSystem) -> Mapping[str, object]:
    """Start it, and give what its actors tell of themselves, but for times."""
    await system.start()
    known = await stats_of(system.fleet.members, 5.0)
    await system.stop()
    return {name: _timeless(stats) for name, stats in known.items()}


def _timeless(stats: ActorStats | str) -> object:
    assert isinstance(stats, ActorStats), stats
    assert stats.warm is not None
    warm = msgspec.structs.replace(stats.warm, duration_ms=0.0, phases={})
    asked = stats.first_request is not None  # by the agent, for the catalog
    return msgspec.structs.replace(stats, started_at=0.0, warm=warm, first_request=None), asked


def _rows(folder: Path) -> Mapping[str, list[object]]:
    """What the file holds, but for warm images, which a stop writes, and the number of the newest write."""
    with closing(sqlite3.connect(folder / "kit.db")) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = [name for name in tables if name != "sequence" and not name.startswith("warm_")]
        return {name: file.execute(f'SELECT * FROM "{name}"').fetchall() for name in kept}  # noqa: S608 our own names
