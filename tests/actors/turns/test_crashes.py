"""Killed at every step, or a store call failing at every place: one visible answer or `unknown`, never two."""

from collections import Counter
from typing import get_args

import pytest

from tests.actors.fakes import Life
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import CHAT, World
from tests.actors.virtual_time import run_virtual

STEPS = 80  # more than the two turns have, whoever dies; see the first test
DYING = ["both", "shard", "agent"]
METHODS = {"append": 2, "write_turn": 6, "write_lease": 4, "read_sessions": 1, "read_chat": 1}


async def killed(who: str, cut: int | None) -> tuple[World, int]:
    """Two messages to a container that is killed after `cut` steps, and a fresh one that ends what is left."""
    world, shard = World(), Life()
    first = await world.boot(shard, shard if who == "both" else Life())
    life = first.lives[1 if who == "agent" else 0]
    before = life.steps
    if cut is not None:
        life.die_after(cut)
    world.background.spawn("say", lambda: world.say(1, "one|two"))
    world.background.spawn("say", lambda: world.say(2, "three"))
    await world.sweep()
    while world.background.tasks and not life.over:
        await world.sweep()
    steps = life.steps - before
    await finish(world)
    return world, steps


async def finish(world: World) -> None:
    """A new container takes over, beside what lives of the old one; who was not told 200 says it again."""
    await world.boot()
    for number, text in ((1, "one|two"), (2, "three")):
        await world.accept(number, text)
    await world.settle()


def seen_twice(world: World) -> list[str]:
    """Texts that the chat saw more than once."""
    return [text for text, times in Counter(world.screen.texts(CHAT)).items() if times > 1]


@pytest.mark.parametrize("who", DYING)
def test_the_sweep_over_cuts_is_long_enough(who: str) -> None:
    """A run that nobody kills has fewer steps than the sweep has cuts, and answers all."""

    async def run() -> int:
        world, steps = await killed(who, None)
        assert sorted(world.screen.texts(CHAT)) == ["echo: one", "echo: three", "two"]
        await world.bury()
        return steps

    assert 10 < run_virtual(run()) <= STEPS


@pytest.mark.parametrize("who", DYING)
@pytest.mark.parametrize("cut", range(STEPS))
def test_killed_at_any_step(who: str, cut: int) -> None:
    """In the end each update has an end, nothing was seen twice, and `answered` was seen whole."""

    async def run() -> None:
        world, _ = await killed(who, cut)
        assert seen_twice(world) == []
        assert {world.state(1), world.state(2)} <= {"answered", "unknown"}
        texts = world.screen.texts(CHAT)
        expected = {1: {"echo: one", "two"}, 2: {"echo: three"}}
        missing = {number for number, parts in expected.items() if not parts <= set(texts)}
        assert missing <= {number for number in (1, 2) if world.state(number) == "unknown"}
        await world.bury()

    run_virtual(run())


@pytest.mark.parametrize("mishap", get_args(Mishap))
@pytest.mark.parametrize("place", [(name, nth) for name, times in METHODS.items() for nth in range(times)])
def test_one_store_call_that_fails_costs_nothing(
    place: tuple[str, int], mishap: Mishap, injected: Counter[str]
) -> None:
    """Whichever call fails, done or not: both messages are answered exactly once, in order, none as `unknown`."""

    async def run() -> None:
        world, (method, nth) = World(), place
        container = await world.boot()
        container.store.fail(method, *([None] * nth), mishap)
        for number, text in ((1, "one|two"), (2, "three")):
            await world.accept(number, text)
            await world.agent.take_turn(CHAT)
        await world.idle()
        for number, text in ((1, "one|two"), (2, "three")):  # Telegram brings again what had no 200
            await world.accept(number, text)
        await world.settle()
        assert world.screen.texts(CHAT) in (
            ["echo: one", "two", "echo: three"],
            ["echo: three", "echo: one", "two"] if method == "append" else [],
        )
        assert [world.state(1), world.state(2)] == ["answered", "answered"]
        assert [message.text for message in world.session().messages if message.role == "user"] in (
            ["one|two", "three"],
            ["three", "one|two"] if method == "append" else [],
        )
        injected.update(container.store.injected)
        await world.bury()

    run_virtual(run())
