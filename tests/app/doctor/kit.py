"""Stores to examine, whose contents can be made older, and a client of the bot that is asked beside them."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from google.cloud.firestore import AsyncClient

from actors.meter import Meter
from actors.stores import SessionStore, UpdateRecord
from app.settings import load
from app.store.database import Database, choose
from app.telegram.client import TelegramClient
from contracts.turns import TurnState
from tests.app.store.firestore_rig import google_client
from tests.app.store.records import step, update
from tests.e2e.conftest import Environ

AGO_S = 100.0
FILE = "doctor.db"  # of a SQLite store, in its folder


class Patient(NamedTuple):
    """A store to examine: its settings, its adapter, and a way to make all that it holds older."""

    environ: Environ
    database: Database
    store: SessionStore
    age: Callable[[], Awaitable[None]]

    async def accept(self, number: int, chat: int = 500, *, body: bytes = b"turn") -> UpdateRecord:
        """Append an update; gives it as stored."""
        record = update(number, chat, body=body)
        appended = await self.store.append(record)
        return msgspec.structs.replace(record, version=appended.version)

    async def move(self, record: UpdateRecord, state: TurnState, reason: str = "") -> None:
        """Take the update to a state."""
        still_open = state == "committed"
        moved = msgspec.structs.replace(record, state=state, reason=reason, open=still_open)
        await self.store.write_turn(step(moved, operation=f"to-{state}"))


@asynccontextmanager
async def sqlite_patient(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Patient]:
    """A SQLite file in the folder."""
    file = folder / FILE

    async def age() -> None:
        with sqlite3.connect(file, timeout=5.0) as connection:
            connection.execute("UPDATE updates SET accepted_at = accepted_at - ?", (AGO_S,))
            connection.execute("UPDATE leases SET renewed_at = renewed_at - ?", (AGO_S,))
            connection.execute("UPDATE waits SET told_at = told_at - ?", (AGO_S,))
        connection.close()

    async with _opened({"FIRSTLIGHT_STORE": f"sqlite:///{file}"}, age) as patient:
        yield patient


@asynccontextmanager
async def firestore_patient(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Patient]:
    """A project of the emulator."""
    host = str(request.getfixturevalue("emulator").host)
    project = str(request.getfixturevalue("project"))
    async with google_client(project, host) as client:

        async def age() -> None:
            await _age_documents(client)

        environ = {"FIRSTLIGHT_STORE": f"firestore://{project}", "FIRESTORE_EMULATOR_HOST": host}
        async with _opened(environ, age) as patient:
            yield patient


PATIENTS = {"sqlite": sqlite_patient, "firestore": firestore_patient}


@asynccontextmanager
async def bot_client(token: str, url: str) -> AsyncIterator[TelegramClient]:
    """A client of the bot, closed at the end of the block."""
    client = TelegramClient(token, url)
    try:
        yield client
    finally:
        await client.close()


async def _age_documents(client: AsyncClient) -> None:
    then = datetime.now(UTC) - timedelta(seconds=AGO_S)
    updates: Any = client.collection("updates").stream()
    async for document in updates:
        await document.reference.update({"accepted_at": then})
    mailboxes: Any = client.collection("mailboxes").stream()
    async for document in mailboxes:
        for key in document.to_dict().get("leases", {}):
            await document.reference.update({f"leases.`{key}`.renewed_at": then})
        for key in document.to_dict().get("waits", {}):
            await document.reference.update({f"waits.`{key}`.told_at": then})


@asynccontextmanager
async def _opened(environ: Environ, age: Callable[[], Awaitable[None]]) -> AsyncIterator[Patient]:
    """The database stays open while the examination's own adapter on it comes and goes."""
    async with AsyncExitStack() as stack:
        database = choose(load(environ))
        stack.push_async_callback(database.close)
        await database.open()
        store = database.sessions(Meter())
        stack.push_async_callback(store.close)
        yield Patient(environ, database, store, age)
