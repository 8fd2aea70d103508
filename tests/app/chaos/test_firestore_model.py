"""The Firestore of simulations says what Google's emulator says, to the same random commits and queries."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.chaos.firestore_link import linked
from app.chaos.firestore_model import FirestoreModel
from app.store.firestore_channel import dial_emulator
from tests.app.chaos.firestore_twins import Asked, Twin, commits, queries
from tests.emulator import Emulator

programs = st.lists(st.tuples(commits, queries()), min_size=1, max_size=6)


async def compared(host: str, program: Sequence[tuple[Sequence[Asked], Any]]) -> None:
    """Run a program on both, and compare whatever they say."""
    project = f"twins-{secrets.token_hex(8)}"
    twins = Twin(dial_emulator(host), project), Twin(linked(FirestoreModel(time.time)), project)
    try:
        for writes, query in program:
            for emulated, modelled in (
                [await twin.commit(writes) for twin in twins],
                [await twin.documents() for twin in twins],
                [await twin.query(query) for twin in twins],
            ):
                assert emulated == modelled
    finally:
        for twin in twins:
            await twin.close()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=programs)
def test_the_model_says_what_the_emulator_says(emulator: Emulator, program: Any) -> None:
    """Commits with masks, transforms and preconditions, and what is read and found after each."""
    asyncio.run(compared(emulator.host, program))


@pytest.mark.soak
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=programs)
def test_the_model_says_what_the_emulator_says_at_length(emulator: Emulator, program: Any) -> None:
    """The same, of a thousand programs."""
    asyncio.run(compared(emulator.host, program))
