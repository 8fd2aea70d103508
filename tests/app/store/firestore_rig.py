"""What the tests of the Firestore store share: stores on a host, records, and Google's client beside them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient

from actors.stores import SkillRun, UpdateRecord
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_attempts import Limits
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_skills import FirestoreSkillStatsStore
from app.store.firestore_warm import FirestoreWarmStore
from tests.app.store.backends import CountingMeter
from tests.commands import ROOT

HUNG = Limits(attempt_s=0.2, budget_s=0.7)
"""Deadlines for tests whose server never answers."""
SWIFT = Limits(attempt_s=0.5, budget_s=9.0)
"""Deadlines for tests whose server hangs once or twice: long beside a call of some ms, short to wait for."""
TWICE = Limits(attempts=2, exhausted_wait_s=0.01)
"""Two attempts, for tests whose server refuses for ever."""


class Rig:
    """The stores on one open database, with their meter."""

    def __init__(self, database: FirestoreDatabase) -> None:
        self.database = database
        self.meter = CountingMeter()
        self.sessions = FirestoreSessionStore(database, self.meter)
        self.skills = FirestoreSkillStatsStore(database, self.meter)
        self.warm = FirestoreWarmStore(database, self.meter)


@asynccontextmanager
async def opened(project: str, host: str, limits: Limits | None = None) -> AsyncIterator[Rig]:
    """Give a rig on the emulator, or on a proxy in front of it, at `host`."""
    database = FirestoreDatabase(project, emulator_host=host, limits=limits)
    await database.open()
    try:
        yield Rig(database)
    finally:
        await database.close()


@asynccontextmanager
async def google_client(project: str, host: str) -> AsyncIterator[AsyncClient]:
    """Give Google's own client: it writes what a test needs to find, and reads what the store has written."""
    nobody: Any = AnonymousCredentials  # not typed
    client: Any = AsyncClient(project=project, credentials=nobody())
    client._emulator_host = host  # as FIRESTORE_EMULATOR_HOST would set it, without touching the environment
    try:
        yield client
    finally:
        await client._firestore_api.transport.close()  # `close` of the client leaves the channel open


def accepted(update: int, chat: int = 7, **changes: Any) -> UpdateRecord:
    """Give an open update of bot 1."""
    plain: dict[str, Any] = {"bot": 1, "update": update, "chat": chat, "shard": 0, "state": "accepted"}
    return UpdateRecord(**(plain | {"open": True, "body": b"body"} | changes))


def run(name: str, skill: str = "s", *, succeeded: bool = True) -> SkillRun:
    """Give a run of 10 ms."""
    return SkillRun(skill=skill, run=name, succeeded=succeeded, duration_ms=10.0)


def shipped_indexes() -> set[str]:
    """Give the composite indexes of firestore.indexes.json in the store's own words for them."""
    shipped = json.loads((ROOT / "firestore.indexes.json").read_text())
    return {
        f"{index['collectionGroup']}: "
        + ", ".join(f"{field['fieldPath']} {field['order']}" for field in index["fields"])
        for index in shipped["indexes"]
    }
