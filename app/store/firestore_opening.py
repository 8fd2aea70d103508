"""A Firestore database as the wiring's Database."""

import asyncio
from typing import Any

from actors.meter import Meter
from actors.stores import SessionStore, SkillStatsStore, StoreMeter
from actors.warm_ports import WarmStore
from app.settings import FirestoreAddress, Settings
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_answers import living
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_docs import UPDATES, read_update
from app.store.firestore_plans import changed_plan, open_plan, recent_plan, states_plan, stray_plan
from app.store.firestore_poison import Poison
from app.store.firestore_requests import Search
from app.store.firestore_search import Plan, answer
from app.store.firestore_skills import FirestoreSkillStatsStore
from app.store.firestore_warm import FirestoreWarmStore
from contracts.skills import SetAside


class FirestoreStores:
    """The adapters share one connection, which belongs to the loop that opened it."""

    def __init__(self, address: FirestoreAddress, settings: Settings) -> None:
        account = settings.google_credentials
        self._database = FirestoreDatabase(
            address.project,
            address.database,
            credentials_json=account.document.reveal() if account else None,
            emulator_host=settings.firestore_emulator,
        )

    async def open(self) -> None:
        """Connect on the running loop; raises StoreDenied without credentials."""
        await self._database.open()

    async def rehearse(self) -> None:
        """Nothing: the read that warms has opened the channel, and a write of nothing would be a write."""

    def sessions(self, meter: StoreMeter) -> SessionStore:
        """The adapter of a SessionCacheActor."""
        return FirestoreSessionStore(self._database, meter)

    def warm(self, meter: StoreMeter) -> WarmStore:
        """The adapter with which a SessionCacheActor starts warm."""
        return FirestoreWarmStore(self._database, meter)

    def skills(self, meter: StoreMeter) -> SkillStatsStore:
        """The adapter of a SkillRegistryActor."""
        return FirestoreSkillStatsStore(self._database, meter)

    async def now(self) -> float:
        """When the database says that it was asked for a document that is not there."""
        found = await self._database.get_all(("mailboxes/0",), Meter())
        return found.read_at_us / 1e6

    async def missing_indexes(self) -> tuple[str, ...]:
        """The composite indexes that the database says it lacks, as firestore.indexes.json lists them."""
        plans: tuple[Plan[Any], ...] = (
            recent_plan(0, 1), changed_plan(0, 0, 1), open_plan(0, 1), states_plan(("accepted",), 1), stray_plan(0, 1),
        )  # fmt: skip
        await asyncio.gather(*(answer(self._database, plan, Meter()) for plan in plans))
        return tuple(sorted(self._database.missing_indexes))

    async def unreadable_updates(self, limit: int) -> tuple[SetAside, ...]:
        """Those of `limit` open documents that are no update; equality alone needs no index."""
        search = Search(collection=UPDATES, limit=limit, equal={"open": True})
        found = await self._database.query(search, Meter(), living(read_update))
        poison = Poison()
        poison.sound(found.documents)
        return poison.found

    async def close(self) -> None:
        """Give the connection back; idempotent."""
        await self._database.close()


def open_from(address: FirestoreAddress, settings: Settings, *, read_only: bool) -> FirestoreStores:
    """The stores at `address`, with the settings' credentials or emulator; opening them writes nothing anyway."""
    del read_only
    return FirestoreStores(address, settings)
