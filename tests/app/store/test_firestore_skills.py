"""Skill statistics in Firestore: exact counts, any name, and documents of other systems."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from app.store.firestore_skills import document_id, skill_path
from contracts.skills import SkillStats
from tests.app.store.firestore_rig import Rig, opened, run
from tests.emulator import Emulator

STRANGE = ["/", ".", "..", "__x__", "____", "a/b", "%2F", "", "\x00", "\ud800", "é" * 1000, "x" * 1501, " "]


async def test_fifty_runs_at_once_from_two_containers_are_exact(emulator: Emulator, project: str) -> None:
    """Count, successes, rate and mean are what was reported, though each run was reported twice."""
    async with opened(project, emulator.host) as one, opened(project, emulator.host) as two:
        runs = [run(str(number), succeeded=number % 5 > 0) for number in range(50)]
        await asyncio.gather(*(rig.skills.record_run(each) for each in runs for rig in (one, two)))
        stats = (await one.skills.read_stats(["s"])).stats["s"]
    assert (stats.run_count, stats.success_count, stats.total_duration_ms) == (50, 40, 500.0)
    assert (stats.success_rate, stats.mean_duration_ms) == (0.8, 10.0)


async def test_every_strange_name_has_statistics_of_its_own(rig: Rig) -> None:
    """Names that Firestore takes for no document id are counted apart."""
    for count, name in enumerate(STRANGE, start=1):
        for number in range(count):
            await rig.skills.record_run(run(f"/{number}", name))
    batch = await rig.skills.read_stats(STRANGE)
    assert [batch.stats[name].run_count for name in STRANGE] == list(range(1, len(STRANGE) + 1))


async def test_a_name_too_long_for_an_id_stands_in_its_document(rig: Rig, google: AsyncClient) -> None:
    """Its id is a digest, so the document says whose it is."""
    name = "x" * 1501
    await rig.skills.record_run(run("1", name))
    document = (await google.document(skill_path(name)).get()).to_dict() or {}
    assert document["name"] == name


async def test_fields_beside_the_statistics_survive(rig: Rig, google: AsyncClient) -> None:
    """Counting touches the four counters and nothing else, inside of `stats` and beside it."""
    await google.document("skills/s").set({"owner": "x", "stats": {"runCount": 4, "note": "kept"}})
    await rig.skills.record_run(run("1"))
    document = (await google.document("skills/s").get()).to_dict() or {}
    last_run = document["stats"].pop("lastRun")
    assert document == {
        "owner": "x",
        "stats": {"runCount": 5, "note": "kept", "successCount": 1, "totalDurationMs": 10.0},
    }
    assert abs(datetime.now(UTC) - last_run).total_seconds() < 600


LEGACY: list[tuple[dict[str, Any], SkillStats]] = [
    ({}, SkillStats()),
    ({"runCount": 0}, SkillStats()),
    (
        {"runCount": 4, "successRate": 0.75, "avgDurationMs": 20},
        SkillStats(
            run_count=4, success_count=3, total_duration_ms=80.0, success_rate=0.75, mean_duration_ms=20.0
        ),
    ),
    (
        {"runCount": 4.0, "successCount": 1, "totalDurationMs": 8, "lastRun": "1970-01-01T00:00:09"},
        SkillStats(
            run_count=4,
            success_count=1,
            total_duration_ms=8.0,
            success_rate=0.25,
            mean_duration_ms=2.0,
            last_run_at=9.0,
        ),
    ),
    ({"lastRun": 9}, SkillStats(last_run_at=9.0)),
    ({"lastRun": None}, SkillStats()),
]


@pytest.mark.parametrize(("stats", "expected"), LEGACY)
async def test_statistics_of_an_older_system(
    rig: Rig, google: AsyncClient, stats: dict[str, Any], expected: SkillStats
) -> None:
    """Rate and mean are read where the sums are missing; a time may be a number or a text."""
    await google.document("skills/s").set({"stats": stats})
    assert dict((await rig.skills.read_stats(["s"])).stats) == {"s": expected}


POISON: list[Any] = [
    "text",
    7,
    None,
    [1],
    {"runCount": "7"},
    {"runCount": -1},
    {"totalDurationMs": float("nan")},
    {"totalDurationMs": float("inf")},
    {"lastRun": "yesterday"},
    {"lastRun": [1]},
    {"successRate": {}},
]


@pytest.mark.parametrize("stats", POISON, ids=str)
async def test_poison_statistics_are_set_aside(rig: Rig, google: AsyncClient, stats: Any) -> None:
    """The skill with a bad document is told, the other one is served."""
    await google.document("skills/bad").set({"stats": stats})
    await rig.skills.record_run(run("1", "good"))
    batch = await rig.skills.read_stats(["bad", "good", "absent"])
    assert (sorted(batch.stats), [each.file for each in batch.set_aside]) == (["good"], ["skills/bad"])


@pytest.mark.parametrize("stats", ["text", 7, None, [1], {"runCount": "7"}], ids=str)
async def test_a_run_heals_poison_counters(rig: Rig, google: AsyncClient, stats: Any) -> None:
    """What is no number, or no map, is replaced by the run's own values: counting begins anew."""
    await google.document("skills/s").set({"stats": stats})
    await rig.skills.record_run(run("1"))
    assert (await rig.skills.read_stats(["s"])).stats["s"].run_count == 1


@pytest.mark.parametrize("name", ["pdf", "Problem-Solving Techniques", "日本", "a.b", "_x_"])
def test_an_ordinary_name_is_its_own_id(name: str) -> None:
    """Documents that other programs wrote are found under their names."""
    assert document_id(name) == name


@given(st.text(), st.text())
def test_no_two_names_share_an_id(one: str, other: str) -> None:
    """Escaping loses nothing."""
    assert (document_id(one) == document_id(other)) == (one == other)


@given(st.sampled_from(["/", ".", "_", "%", "2", "F", "~", "\x00", "é"]), st.integers(0, 1600), st.text())
def test_every_id_is_one_that_firestore_takes(character: str, count: int, rest: str) -> None:
    """At most 1,500 bytes of UTF-8, no slash, not empty, not `.`, `..` or `__x__`."""
    made = document_id(character * count + rest + character * count)
    assert 0 < len(made.encode()) <= 1500
    assert "/" not in made
    assert made not in (".", "..")
    assert not (made.startswith("__") and made.endswith("__"))
