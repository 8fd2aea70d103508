"""The Firestore of a simulation: what a death ends, what a fault of the wire does, and what a witness hears of it."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
import pytest

from actors import session_codec
from actors.meter import Meter
from actors.stores import (
    Appended,
    LeaseRecord,
    SessionRecord,
    SessionStore,
    StoreDenied,
    StoreDown,
    TurnWrite,
    UpdateRecord,
    VersionConflict,
)
from app.chaos.container import EPOCH_S, Container, settle
from app.chaos.faults import Faults
from app.chaos.firestore_store import FirestoreWorldStore
from app.chaos.ledger import Ledger
from app.chaos.store_port import ShakySessions
from app.chaos.trace import Trace
from app.chaos.virtual_loop import VirtualLoop, run_virtually
from app.chaos.watched_store import Witness
from contracts.turns import Session
from tests.app.store.records import CHAT, ended, lease, session, step, update

BODY: Final = session_codec.pack(Session(chat=CHAT))


class Scripted(Faults):
    """Gives the faults of a list, one for each call on the wire, and then none."""

    def __init__(self, *script: str) -> None:
        super().__init__(random.Random(1))
        self._script = list(script)

    def draw(self, where: str) -> str:
        """The next one, whatever its sort."""
        if where != "store" or not self._script:
            return ""
        return self._script.pop(0)


class Listening(Witness):
    """Keeps what it hears."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.heard: list[object] = []
        trace = Trace(loop.time)
        super().__init__(Ledger(loop.time, trace), trace)

    def appended(self, record: UpdateRecord, appended: Appended) -> None:
        self.heard.append(("appended", record.key, appended.waiting))

    def wrote_turn(
        self, before: UpdateRecord, head: UpdateRecord | None, write: TurnWrite, session_version: int
    ) -> None:
        over = write.session.version if write.session is not None else None
        self.heard.append(
            ("turn", before.state, write.update.state, head and head.key, over, session_version > 0)
        )

    def wrote_session(self, session: SessionRecord, version: int) -> None:
        self.heard.append(("session", session.chat, session.version))

    def wrote_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        self.heard.append(("lease", chat, lease and (lease.owner, lease.update_key, lease.wait_s)))


class Rig:
    """A world on the loop's time, whose wire does what the script says, and one container in it."""

    def __init__(self, loop: VirtualLoop, *script: str) -> None:
        self.loop, self.witness = loop, Listening(loop)
        self.world = FirestoreWorldStore(lambda: EPOCH_S + loop.time(), self.witness)
        ledger = Ledger(loop.time, Trace(loop.time))
        self.line = self.world.line(Scripted(*script), ledger, random.Random(1))
        self.container, self.store = self.another("one")

    def another(self, name: str) -> tuple[Container, SessionStore]:
        """A container, and its adapter."""
        container = Container(name, self.loop)
        return container, ShakySessions(self.line, container, self.world.sessions(container, Meter()))


def lived(main: Callable[[Rig], Coroutine[Any, Any, None]], *script: str) -> Rig:
    """Run a test on virtual time."""

    async def run(loop: VirtualLoop) -> Rig:
        loop.created = settle
        rig = Rig(loop, *script)
        await main(rig)
        return rig

    return run_virtually(run)


# ---------------------------------------------------------------- containers


def test_a_death_ends_a_container_s_use_and_no_other_s() -> None:
    """What it has sent may still happen; what it would send then does not, nor does its adapter go on."""

    async def main(rig: Rig) -> None:
        sending = rig.container.run(rig.store.append(update(1)))
        await asyncio.sleep(0.001)  # it is on its way
        rig.container.kill()
        await asyncio.wait((sending,))
        assert sending.cancelled()
        with pytest.raises(StoreDown):
            await rig.store.append(update(2))
        _, living = rig.another("two")
        await living.append(update(3))
        await asyncio.sleep(60.0)
        assert [3] == [
            each.update for each in (await living.read_chat(CHAT)).open_updates if each.update != 1
        ]

    lived(main)


def test_leases_age_in_virtual_time() -> None:
    """A lease that was written a virtual minute ago is a minute old."""

    async def main(rig: Rig) -> None:
        await rig.store.append(update(1))
        await rig.store.write_lease(CHAT, lease(1))
        await asyncio.sleep(60.0)
        held = (await rig.store.read_chat(CHAT)).lease
        assert held is not None
        assert pytest.approx(60.0, abs=0.1) == held.age_s

    lived(main)


def test_another_program_s_write_is_met_as_a_conflict() -> None:
    """Contention is a write beside the adapter, which moves the session's version on."""

    async def main(rig: Rig) -> None:
        version = await rig.store.write_session(session(body=BODY), "first")
        with pytest.raises(VersionConflict):
            await rig.store.write_session(session(version=version, body=BODY), "second")
        held = rig.world.session(CHAT)
        assert held is not None
        assert held.version > version

    lived(main, "", "store_contention")


# ---------------------------------------------------------------- the wire


@pytest.mark.parametrize("fault", ["store_reply_lost", "rpc_reply_hangs"])
def test_a_commit_whose_reply_is_lost_is_heard_of_once(fault: str) -> None:
    """The adapter tries again, meets what it has written itself, and takes it for that."""

    async def main(rig: Rig) -> None:
        appended = await rig.store.append(update(1))
        turn = ended(msgspec.structs.replace(update(1), version=appended.version))
        written = await rig.store.write_turn(step(turn, session=session(body=BODY)))
        assert (True, 1, True) == (appended.created, appended.waiting, written.repeated)

    rig = lived(main, fault, "", "", fault)  # the second try, and a look at whose update it is, lie between
    assert [("appended", "7:1", 1), ("turn", "accepted", "answered", "7:1", 0, True)] == rig.witness.heard
    assert [] == rig.world.waiting()


def test_an_append_that_hears_late_does_not_claim_an_update_that_has_moved_on() -> None:
    """Its own version is gone: with the newer one, a turn that another owner has committed would begin once more."""

    async def main(rig: Rig) -> None:
        _, other = rig.another("two")
        appending = rig.container.run(rig.store.append(update(1)))
        await asyncio.sleep(1.0)  # it is stored, and the reply never comes
        (found,) = (await other.read_chat(CHAT)).open_updates
        await other.write_turn(step(msgspec.structs.replace(found, state="committed")))
        assert Appended(created=False) == await appending

    lived(main, "rpc_reply_hangs")


@pytest.mark.parametrize("fault", ["store_unavailable", "rpc_aborted", "store_exhausted", "store_hang"])
def test_a_commit_that_did_not_arrive_is_tried_again(fault: str) -> None:
    """Nothing of it was applied before, and it is heard of once."""

    async def main(rig: Rig) -> None:
        assert (await rig.store.append(update(1))).created

    assert [("appended", "7:1", 1)] == lived(main, fault).witness.heard


def test_a_refusal_is_final() -> None:
    """Without permission nothing is tried again."""

    async def main(rig: Rig) -> None:
        with pytest.raises(StoreDenied):
            await rig.store.append(update(1))

    assert [] == lived(main, "store_denied").witness.heard


def test_a_stream_that_is_cut_is_read_again_from_its_beginning() -> None:
    """What it lacked is not taken for absent."""

    async def main(rig: Rig) -> None:
        await rig.store.append(update(1))
        assert [1] == [each.update for each in (await rig.store.read_chat(CHAT)).open_updates]

    lived(main, "", "rpc_cut", "rpc_cut")


def test_a_connection_that_answers_nothing_is_replaced_after_two_deadlines() -> None:
    """On the new one the call succeeds, within the budget of its attempts."""

    async def main(rig: Rig) -> None:
        assert (await rig.store.append(update(1))).created
        assert 6.0 < rig.loop.time() < 9.0

    lived(main, "rpc_black_hole")


def test_a_commit_that_waits_for_locks_has_the_time_at_which_it_began() -> None:
    """So it becomes visible after a reading whose time is later than its own."""

    async def main(rig: Rig) -> None:
        version = await rig.store.write_session(session(body=BODY), "first")
        held = rig.world.session(CHAT)
        assert held is not None
        assert 0.5 <= version / 1e6 - held.updated_at <= 3.0

    lived(main, "rpc_locked")


def test_a_late_commit_takes_effect_when_nobody_waits_for_it_any_more() -> None:
    """The adapter has written in the meantime; the late one is no second update."""

    async def main(rig: Rig) -> None:
        assert (await rig.store.append(update(1))).created
        await asyncio.sleep(60.0)
        assert [1] == [each.update for each in (await rig.store.read_chat(CHAT)).open_updates]

    assert [("appended", "7:1", 1)] == lived(main, "store_late").witness.heard


def test_a_store_that_is_down_is_down_for_every_call() -> None:
    """The adapter gives up within its budget, and works again afterwards."""

    async def main(rig: Rig) -> None:
        rig.line.down_until_s = 20.0
        with pytest.raises(StoreDown):
            await rig.store.append(update(1))
        await asyncio.sleep(20.0)
        assert (await rig.store.append(update(1))).created

    lived(main)


# ---------------------------------------------------------------- the witness


def test_what_a_witness_hears() -> None:
    """Of each kind of write what it did to the documents, with the version that its writer had read."""

    async def main(rig: Rig) -> None:
        first = await rig.store.append(update(1))
        await rig.store.append(update(2))
        await rig.store.append(update(1))  # there already: no commit
        await rig.store.write_lease(CHAT, msgspec.structs.replace(lease(1), wait_s=30.0))
        version = await rig.store.write_session(session(body=BODY), "alone")
        turn = msgspec.structs.replace(update(1), version=first.version, state="committed")
        written = await rig.store.write_turn(
            step(turn, operation="a", session=session(version=version, body=BODY), lease=lease(1))
        )
        done = ended(msgspec.structs.replace(update(1), version=written.update_version))
        await rig.store.write_turn(step(done, operation="b"))
        await rig.store.erase_updates(CHAT)
        assert ("session", CHAT, 0) in rig.witness.heard
        rig.witness.heard.append(("over", version))

    heard = lived(main).witness.heard
    over = heard.pop()
    assert isinstance(over, tuple)
    assert [
        ("appended", "7:1", 1),
        ("appended", "7:2", 2),
        ("lease", CHAT, ("one", "7:1", 30.0)),
        ("session", CHAT, 0),
        ("lease", CHAT, ("one", "7:1", 0.0)),
        ("turn", "accepted", "committed", "7:1", over[1], True),
        ("turn", "committed", "answered", "7:1", None, False),
    ] == heard


def test_a_link_that_closes_cancels_what_runs_and_refuses_what_comes() -> None:
    """As gRPC's channel does; to the adapter's caller either is a store that is down."""

    async def main(rig: Rig) -> None:
        running = asyncio.ensure_future(rig.store.append(update(1)))
        await asyncio.sleep(0.001)
        await rig.store.close()
        with pytest.raises(StoreDown):
            await running
        with pytest.raises(StoreDown, match="not open"):
            await rig.store.append(update(2))

    lived(main)
