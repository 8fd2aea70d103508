"""The fixture that runs a test over every store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.app.store.backends import BACKENDS, Backend, Ground

MARKS = {"firestore": [pytest.mark.emulator]}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, [])) for name in BACKENDS])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """One store after the other, each empty."""
    ground = Ground(tmp_path, lambda: str(request.getfixturevalue("emulator").host))
    async with BACKENDS[request.param](ground) as opened:
        yield opened
