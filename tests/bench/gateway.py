"""A gateway's container as Modal starts it, its actors warm and near: `python -m tests.bench.gateway PORT`."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import modal_app  # noqa: F401 - what every container imports first
from app.placed_gateway import PlacedGateway
from app.transport.remote import RemoteFleet
from contracts.codec import encode
from contracts.sessions import UpdateAccepted
from contracts.warming import WarmReport


class Pool(NamedTuple):
    """What an autoscaler tells of its settings."""

    min_containers: int = 1


class Said:
    """A method of Modal's handles that gives the same each time; its autoscaler tells of one container."""

    def __init__(self, answer: Any) -> None:
        async def give(*_given: Any, **_named: Any) -> Any:
            return answer

        self.aio: Callable[..., Awaitable[Any]] = give
        self.hydrate = self.remote = self.spawn = self.update = self

    @property
    def autoscaler(self) -> "Said":
        """The pool's; its `settings` are what is given."""
        return Said(Pool())

    @property
    def settings(self) -> "Said":
        """What is given."""
        return self


class Warm:
    """A handle of an actor that is warm, and accepts every update at once."""

    ask = Said(encode(UpdateAccepted()))
    stats = Said(b"")
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
