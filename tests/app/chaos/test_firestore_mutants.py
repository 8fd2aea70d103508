"""The checks can fail over Firestore, too: an adapter with one thing broken breaks a promise, and that is noticed."""

from collections.abc import Sequence

import msgspec
import pytest

from actors.warm_ports import SessionChanges
from app.chaos.crowd import Size
from app.chaos.firestore_store import FirestoreWorldStore
from app.chaos.simulation import Plan, Simulation, simulate
from app.chaos.watched_store import Witness
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_client import Applied
from app.store.firestore_requests import Change, When
from app.store.firestore_warm import VISIBLE_WITHIN_US, FirestoreWarmStore

SMALL = Size(people=10, groups=2)


class ComparesNoVersions(FirestoreSessionStore):
    """Writes over any version."""

    async def _commit(self, changes: Sequence[Change]) -> tuple[Applied, ...]:
        return await super()._commit([_anyhow(change) for change in changes])


def _anyhow(change: Change) -> Change:
    return msgspec.structs.replace(change, when=When.ALWAYS) if isinstance(change.when, int) else change


class TrustsTheTime(FirestoreWarmStore):
    """Takes what is dated before its reading for read."""

    async def changed_sessions(self, shard: int, since: int, limit: int) -> SessionChanges:
        changes = await super().changed_sessions(shard, since, limit)
        return msgspec.structs.replace(changes, watermark=changes.watermark + VISIBLE_WITHIN_US)


def over(kind: type[FirestoreSessionStore] | type[FirestoreWarmStore]) -> type[Simulation]:
    """A simulation whose shards use this adapter."""
    of_sessions = issubclass(kind, FirestoreSessionStore)
    store = type("Store", (FirestoreWorldStore,), {"sessions_class" if of_sessions else "warm_class": kind})

    class Mutant(Simulation):
        def make_database(self) -> FirestoreWorldStore:
            made: FirestoreWorldStore = store(self.now, Witness(self.ledger, self.trace))
            return made

    return Mutant


def test_an_adapter_that_compares_no_versions_is_noticed() -> None:
    """A late commit ends a turn for the second time."""
    kinds = ("store_late", "ask_twice")
    plan = Plan(seed=1, minutes=1, size=SMALL, only=kinds, intensity=20.0, store="firestore")
    account = simulate(plan, make=over(ComparesNoVersions))
    assert {"I1 one end", "I3 order"} <= {violation.promise for violation in account.violations}


LOCKED = Plan(
    seed=1,
    minutes=20,
    size=SMALL,
    only=("rpc_locked", "second_owner", "shard_killed"),
    intensity=60.0,
    store="firestore",
)


@pytest.mark.soak
def test_what_becomes_visible_late_is_missed_by_no_warm_start() -> None:
    """Commits become visible up to three seconds after their own time, beside readings of another owner."""
    assert simulate(LOCKED).violations == ()


@pytest.mark.soak
def test_a_warm_start_that_trusts_the_time_is_noticed() -> None:
    """It serves a session that had been outdated when it began."""
    account = simulate(LOCKED, make=over(TrustsTheTime))
    assert "I6 outdated" in {violation.promise for violation in account.violations}
