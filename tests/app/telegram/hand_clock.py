"""A clock that a test moves by hand."""

import asyncio

from actors.ports import Clock


class HandClock(Clock):
    """Time that moves only by `run`, from one sleeper's end to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic_s(self) -> float:
        return self.now

    def unix_s(self) -> float:
        return 1_700_000_000 + self.now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + seconds, woken))
        await woken

    async def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            await _settle()
            self.sleepers = [each for each in self.sleepers if not each[1].done()]
            at, woken = min(self.sleepers, key=lambda each: each[0], default=(end + 1, None))
            if at > end or woken is None:
                break
            self.now = at
            woken.set_result(None)
        self.now = end


async def _settle() -> None:
    for _ in range(30):  # more turns of the loop than any chain of tasks here is long
        await asyncio.sleep(0)
