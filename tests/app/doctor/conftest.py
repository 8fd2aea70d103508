"""An empty store of each kind, and a SQLite one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.app.doctor.kit import PATIENTS, Patient, sqlite_patient


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.emulator)])
async def patient(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Patient]:
    """An empty store of each kind."""
    async with PATIENTS[request.param](request, tmp_path) as opened:
        yield opened


@pytest.fixture
async def healthy(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Patient]:
    """An empty SQLite store."""
    async with sqlite_patient(request, tmp_path) as patient:
        yield patient
