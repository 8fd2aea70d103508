"""Time and chance as the simulator takes them: a clock that can run faster, and dice that can be seeded."""

import asyncio
import random
import time

from actors.ports import Clock


class ScaledClock(Clock):
    """The machine's time at `scale` times its pace: at 100 a redelivery after 60 s comes after 0.6 s."""

    def __init__(self, scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError("a clock's scale is above 0")
        self._scale = scale

    def monotonic_s(self) -> float:
        """Seconds that never go backwards, scaled."""
        return time.monotonic() * self._scale

    def unix_s(self) -> float:
        """Seconds since 1970, unscaled: dates in messages stay true."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait for scaled seconds."""
        await asyncio.sleep(seconds / self._scale)


class SeededChance:
    """Numbers that come out the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def token(self) -> str:
        """96 bits as hex digits."""
        return f"{self._dice.getrandbits(96):024x}"

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return self._dice.uniform(low, high)
