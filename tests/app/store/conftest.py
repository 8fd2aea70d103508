"""The fixture that runs a test over every store, and those for SQLite or Firestore alone."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.cloud.firestore import AsyncClient

from app.store.sqlite import SqliteDatabase
from app.store.sqlite_warm import SqliteWarmStore
from tests.app.store.backends import BACKENDS, Backend, CountingMeter, Ground
from tests.app.store.firestore_rig import Rig, google_client, opened
from tests.emulator import Emulator
from tests.faultproxy import FaultProxy

MARKS = {"firestore": [pytest.mark.emulator]}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, [])) for name in BACKENDS])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """One store after the other, each empty."""
    ground = Ground(tmp_path, lambda: str(request.getfixturevalue("emulator").host))
    async with BACKENDS[request.param](ground) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A SQLite file that does not exist yet."""
    return tmp_path / "firstlight.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    """The file, opened by the first call."""
    database = SqliteDatabase(path)
    yield database
    await database.close()


@pytest.fixture
def warm(database: SqliteDatabase) -> SqliteWarmStore:
    """The images in it."""
    return SqliteWarmStore(database, CountingMeter())


@pytest.fixture
async def proxy(emulator: Emulator, injected: Counter[str]) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the emulator, whose faults are counted."""
    proxy = FaultProxy(emulator.host, injected=injected)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def rig(emulator: Emulator, project: str) -> AsyncIterator[Rig]:
    """Both Firestore stores on the emulator."""
    async with opened(project, emulator.host) as rig:
        yield rig


@pytest.fixture
async def google(emulator: Emulator, project: str) -> AsyncIterator[AsyncClient]:
    """Google's own client on the same project."""
    async with google_client(project, emulator.host) as client:
        yield client
