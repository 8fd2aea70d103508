"""What every end-to-end test stands on: a simulated Telegram, and an empty store of each kind."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from app.telegram.simulator import TelegramSimulator
from tests.emulator import Emulator

Environ = Mapping[str, str]


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramSimulator]:
    """A simulated Telegram on loopback."""
    async with TelegramSimulator() as simulator:
        yield simulator


@pytest.fixture(params=["sqlite", "firestore"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Environ:
    """The environment that names an empty store; Firestore is Google's emulator, skipped where it is missing."""
    if request.param == "sqlite":
        return {"FIRSTLIGHT_STORE": f"sqlite:///{tmp_path / 'e2e.db'}"}
    emulator: Emulator = request.getfixturevalue("emulator")
    project: str = request.getfixturevalue("project")
    return {"FIRSTLIGHT_STORE": f"firestore://{project}", "FIRESTORE_EMULATOR_HOST": emulator.host}
