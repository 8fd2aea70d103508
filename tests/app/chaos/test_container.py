"""A container's death: everything inside stops at once, and what was on its way may still arrive."""

import asyncio

from app.chaos.container import EPOCH_S, Container, settle
from app.chaos.virtual_loop import VirtualLoop, run_virtually


def made(loop: VirtualLoop, name: str = "c", *, skew_s: float = 0.0, began_s: float = 0.0) -> Container:
    """A container on the loop."""
    loop.created = settle
    return Container(name, loop, skew_s=skew_s, began_s=began_s)


def test_a_death_stops_every_task_inside() -> None:
    """Also tasks of tasks, and those that swallow their cancellation; nothing goes on after it."""

    async def main(loop: VirtualLoop) -> tuple[int, list[str]]:
        container, seen = made(loop), list[str]()

        async def child() -> None:
            while True:
                try:
                    await container.clock.sleep(1.0)
                    seen.append("alive")
                except asyncio.CancelledError:
                    if container.alive:
                        raise
                    await container.clock.sleep(5.0)

        async def parent() -> None:
            await asyncio.gather(loop.create_task(child()), child())

        container.run(parent())
        await asyncio.sleep(2.5)
        container.kill()
        await asyncio.sleep(10.0)
        return len(container.tasks), seen

    assert run_virtually(main) == (0, ["alive"] * 4)


def test_what_was_on_its_way_arrives() -> None:
    """A call that left before the death takes its effect, and its answer reaches nobody."""

    async def main(loop: VirtualLoop) -> list[str]:
        container, seen = made(loop), list[str]()

        async def effect() -> str:
            await asyncio.sleep(2.0)
            seen.append("applied")
            return "answer"

        async def inside() -> None:
            seen.append(await container.reach(effect(), 10.0))

        container.run(inside())
        await asyncio.sleep(1.0)
        container.kill()
        await asyncio.sleep(5.0)
        return seen

    assert run_virtually(main) == ["applied"]


def test_a_dead_container_reaches_nobody() -> None:
    """What its tasks still do while they unwind has no effect outside, and its background takes no work."""

    async def main(loop: VirtualLoop) -> list[str]:
        container, seen = made(loop), list[str]()

        async def effect() -> None:
            seen.append("applied")

        async def inside() -> None:
            try:
                await container.clock.sleep(100.0)
            finally:
                container.background.spawn("late", lambda: container.reach(effect(), 1.0))
                await container.reach(effect(), 1.0)

        container.run(inside())
        await asyncio.sleep(1.0)
        container.kill()
        await asyncio.sleep(5.0)
        return seen

    assert run_virtually(main) == []


def test_clocks_of_two_containers_differ() -> None:
    """The Unix clock may be wrong; the monotonic one goes at the right pace from any start."""

    async def main(loop: VirtualLoop) -> tuple[float, float, float]:
        container = made(loop, skew_s=-600.0, began_s=5_000.0)
        before = container.clock.monotonic_s()
        await asyncio.sleep(10.0)
        return before, container.clock.monotonic_s() - before, container.clock.unix_s()

    assert run_virtually(main) == (5_000.0, 10.0, EPOCH_S - 590.0)


def test_a_defect_in_the_background_is_told() -> None:
    """What injected faults can't explain is a defect of the container."""

    async def main(loop: VirtualLoop) -> list[str]:
        container = made(loop)

        async def broken() -> None:
            raise KeyError("chat")

        container.background.spawn("write", broken)
        await asyncio.sleep(1.0)
        return container.defects

    assert run_virtually(main) == ["KeyError in background work 'write': 'chat'"]
