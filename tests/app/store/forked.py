"""A process that uses a store, forks, and says what its child meets on the same store and on one of its own."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from actors.stores import StoreError
from app.store.firestore_attempts import Limits
from app.store.firestore_client import FirestoreDatabase
from app.store.sqlite_database import SqliteDatabase
from tests.app.store.backends import CountingMeter

Use = Callable[[], Awaitable[str]]

NOWHERE = "127.0.0.1:1"


def sqlite(path: str) -> Use:
    """A file."""
    database = SqliteDatabase(Path(path))

    async def use() -> str:
        return str(await database.read(lambda connection: connection.execute("SELECT 'read'").fetchone()[0]))

    return use


def firestore(_: str) -> Use:
    """Where nobody answers, which is as good as an answer: who may use the connection is told that."""
    database = FirestoreDatabase("p", emulator_host=NOWHERE, limits=Limits(attempts=1))

    async def use() -> str:
        await database.open()
        await database.get_all(["a/b"], CountingMeter())
        return "read"

    return use


async def tried(use: Use) -> str:
    """What came of it; in bounded time, as a hang is what a fork is feared for."""
    try:
        async with asyncio.timeout(5.0):
            return await use()
    except (StoreError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"


def main(make: Callable[[str], Use], path: str) -> None:
    """Say what happens in the parent, in its child, on a store of the child's own, and in the parent after that.

    Firestore has no second part: gRPC does not work in the child of a process that has used it, and each call ends
    at its deadline. Who forks opens Firestore afterwards.
    """
    use = make(path)
    with asyncio.Runner() as runner:
        _say("parent", runner.run(tried(use)))
        child = os.fork()
        if child == 0:
            _say("child", asyncio.run(tried(use)))
            if make is sqlite:
                _say("child's own", asyncio.run(tried(make(path))))
            os._exit(0)
        os.waitpid(child, 0)
        _say("parent again", runner.run(tried(use)))


def _say(who: str, what: str) -> None:
    sys.stdout.write(f"{who}: {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main({"sqlite": sqlite, "firestore": firestore}[sys.argv[1]], sys.argv[2])
