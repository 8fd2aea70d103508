"""A chat's gate lets one through at a time, in order, and is never left shut."""

import asyncio

import pytest

from actors.mailbox import Mailboxes

CHAT = 7


class Passages:
    """Tasks that pass the gate of one chat and stay in it until they are let go."""

    def __init__(self) -> None:
        self.mailboxes = Mailboxes()
        self.inside: list[int] = []
        self._leave: dict[int, asyncio.Event] = {}

    async def enter(self, number: int) -> asyncio.Task[None]:
        """Start one; it is inside, or waits, when this returns."""
        self._leave[number] = asyncio.Event()
        task = asyncio.create_task(self._pass(number))
        await asyncio.sleep(0)
        return task

    async def let_go(self, number: int) -> None:
        """Have it leave; whoever follows is inside when this returns."""
        self._leave[number].set()
        for _ in range(4):
            await asyncio.sleep(0)

    async def _pass(self, number: int) -> None:
        async with self.mailboxes.gates.passage(CHAT):
            self.inside.append(number)
            await self._leave[number].wait()


async def test_one_at_a_time_in_the_order_of_arrival() -> None:
    """Nobody sees half of another's work, and nobody is overtaken, also by who comes between two."""
    passages = Passages()
    tasks = [await passages.enter(number) for number in range(3)]
    assert passages.inside == [0]
    await passages.let_go(0)
    tasks.append(await passages.enter(3))
    assert passages.inside == [0, 1]
    for number in (1, 2, 3):
        await passages.let_go(number)
    await asyncio.gather(*tasks)
    assert (passages.inside, len(passages.mailboxes.gates)) == ([0, 1, 2, 3], 0)


async def test_another_chat_has_a_gate_of_its_own() -> None:
    """Chats do not wait for one another."""
    passages = Passages()
    holder = await passages.enter(0)
    async with asyncio.timeout(1), passages.mailboxes.gates.passage(CHAT + 1):
        pass
    await passages.let_go(0)
    await holder


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "as its turn comes"])
async def test_who_is_cancelled_holds_nobody_up(late: bool) -> None:
    """A caller that leaves the queue, even in the moment in which it is let in, passes its turn on."""
    passages = Passages()
    first, second, third = [await passages.enter(number) for number in range(3)]
    if late:
        passages._leave[0].set()
        await asyncio.sleep(0)  # the first leaves, and gives the second its turn, which it has not seen yet
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await passages.let_go(0)
    assert passages.inside[-1] == 2
    await passages.let_go(2)
    await asyncio.gather(first, third)
    assert len(passages.mailboxes.gates) == 0


async def test_a_held_gate_is_not_free() -> None:
    """Who wants only what is free is not given a chat in which somebody works."""
    passages = Passages()
    holder = await passages.enter(0)
    with passages.mailboxes.gates.convoy_where_open((CHAT, CHAT + 1)) as convoy:
        assert convoy.inside() == (CHAT + 1,)
    await passages.let_go(0)
    await holder
