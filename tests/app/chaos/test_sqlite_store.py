"""The SQLite file of a simulation: what a death ends, what outlives it, and whose time it goes by."""

import asyncio
from contextlib import closing
from typing import Final

import pytest

from actors import session_codec
from actors.meter import Meter
from actors.stores import StoreDown, VersionConflict
from app.chaos.container import EPOCH_S, Container
from app.chaos.ledger import Ledger
from app.chaos.sqlite_store import SqliteWorldStore
from app.chaos.trace import Trace
from app.chaos.virtual_loop import VirtualLoop, run_virtually
from app.chaos.watched_store import Witness
from contracts.turns import Session
from tests.app.store.records import CHAT, lease, session, update

BODY: Final = session_codec.pack(Session(chat=CHAT))


def made(loop: VirtualLoop) -> SqliteWorldStore:
    """A store on the loop's time."""
    trace = Trace(loop.time)
    return SqliteWorldStore(lambda: EPOCH_S + loop.time(), Witness(Ledger(loop.time, trace), trace))


def test_a_death_ends_a_container_s_use_of_the_file_and_no_other_s() -> None:
    """What it had been told is there for its successor; what waited is not done, what comes is refused."""

    async def main(loop: VirtualLoop) -> list[int]:
        with closing(made(loop)) as world:
            old, new = Container("old", loop), Container("new", loop)
            dead, living = world.sessions(old, Meter()), world.sessions(new, Meter())
            await dead.append(update(1))
            waiting = asyncio.ensure_future(dead.append(update(2)))
            await asyncio.sleep(0)  # it is handed over when this turn of the loop ends
            old.kill()
            with pytest.raises(StoreDown, match="closed"):
                await dead.append(update(3))
            with pytest.raises(StoreDown, match="no answer"):
                await waiting
            return [each.update for each in (await living.read_chat(CHAT)).open_updates]

    assert [1] == run_virtually(main)


def test_leases_age_in_virtual_time() -> None:
    """A lease that was written a virtual minute ago is a minute old."""

    async def main(loop: VirtualLoop) -> float:
        with closing(made(loop)) as world:
            store = world.sessions(Container("c", loop), Meter())
            await store.append(update(1))
            await store.write_lease(CHAT, lease(1))
            await asyncio.sleep(60.0)
            held = (await store.read_chat(CHAT)).lease
            return held.age_s if held is not None else 0.0

    assert pytest.approx(60.0, abs=0.001) == run_virtually(main)


def test_another_program_s_write_is_met_as_a_conflict() -> None:
    """Contention is a write by a connection of its own, which moves the session's version on."""

    async def main(loop: VirtualLoop) -> tuple[int, int]:
        with closing(made(loop)) as world:
            store = world.sessions(Container("c", loop), Meter())
            version = await store.write_session(session(body=BODY), "first")
            moved = world.write_session(session(version=version, body=BODY), "contention")
            with pytest.raises(VersionConflict):
                await store.write_session(session(version=version, body=BODY), "second")
            held = world.session(CHAT)
            assert held is not None
            return moved, held.version

    moved, held = run_virtually(main)
    assert moved == held
