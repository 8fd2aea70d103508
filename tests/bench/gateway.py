"""A gateway's container as Modal starts it, its actors warm and near: `python -m tests.bench.gateway PORT`."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import modal_app  # noqa: F401 - what every container imports first
from app.placed_gateway import PlacedGateway
from app.transport.remote import RemoteFleet
from contracts.codec import encode
from contracts.warming import WarmReport


class Said:
    """A method of Modal's handles that gives the same each time: `hydrate`, `remote` and itself, each with `aio`."""

    def __init__(self, answer: bytes) -> None:
        async def give(*_given: Any, **_named: Any) -> bytes:
            return answer

        self.aio: Callable[..., Awaitable[bytes]] = give
        self.hydrate = self.remote = self.spawn = self


class Warm:
    """A handle of an actor that is warm."""

    ask = stats = update_autoscaler = Said(b"")
    warm = Said(encode(WarmReport(actor="any", status="warm")))


class Gateway(PlacedGateway):
    """The gateway on loopback."""

    port, host = int(sys.argv[1]), "127.0.0.1"

    def fleet(self) -> RemoteFleet:
        """References to warm actors."""
        return RemoteFleet(Warm, lambda shard: Warm(), Warm, shards=1)


async def run() -> None:
    """Serve until SIGTERM."""
    gateway: Any = Gateway()  # its hooks are plain methods, as long as nobody has made it a class of Modal's
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await gateway.start()
    await ended.wait()
    await gateway.stop()


if __name__ == "__main__":
    asyncio.run(run())
