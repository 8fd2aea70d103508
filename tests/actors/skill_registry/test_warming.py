"""The SkillRegistryActor warms from its files and its store, whatever these do."""

import asyncio

import pytest
from structlog.testing import capture_logs

from actors.skill_registry import SkillRegistryOptions
from actors.stores import StoreDenied, StoreDown, StoreError
from actors.warming import REFUSED_S
from contracts.faults import Fault
from contracts.skills import GetSkill, SetAside, SkillStats
from contracts.warming import StoreUse
from tests.actors.skill_kit import Gate, MemoryFiles, World, skill_file
from tests.actors.skill_registry.asking import FIVE_RUNS, SIX_RUNS, UNREADABLE_ROOT, catalog, run, skill


async def test_a_warm_registry_answers_without_the_store(world: World) -> None:
    """All statistics are read in one wave; from then on a request costs no store call."""
    await world.actor.start()
    assert (await skill(world, "tea")).stats == FIVE_RUNS
    assert (await skill(world, "water")).stats == SkillStats()
    await catalog(world)
    stats = await world.ref.stats()

    assert world.store.asked == [("Coffee Making", "tea", "water")]
    assert stats.store_reads == StoreUse()
    assert stats.background_reads == StoreUse(calls=1, documents=1)
    assert stats.first_request is not None
    assert (stats.first_request.store_reads, stats.degraded) == (0, "")
    assert (stats.hits, stats.misses, stats.entries) == (2, 0, 6)


async def test_the_report_counts_skills_with_both_parts(world: World) -> None:
    """An entry is a skill with its file and its statistics."""
    report = await world.ref.warm()

    assert (report.status, report.source) == ("warm", "files")
    assert (report.requested, report.loaded, report.failed, report.skipped) == (3, 3, 0, 0)
    assert (report.store_reads, report.documents, report.bytes) == (1, 1, 3 * len("body"))
    assert (list(report.phases), report.errors) == (["files", "statistics"], ())


async def test_a_folder_without_skills_is_warm_and_asks_nothing() -> None:
    """Nothing was planned, so all of it is loaded; no request looks for it again."""
    world = World(MemoryFiles())
    report = await world.ref.warm()

    assert (report.status, report.requested, report.store_reads) == ("warm", 0, 0)
    assert (await catalog(world)).skills == ()
    assert world.files.gate.passed == 1


async def test_warming_logs_under_its_fixed_names(world: World) -> None:
    """Dashboards filter by these names and fields."""
    world.store.poison["water"] = "not a number"
    with capture_logs() as logs:
        await world.actor.start()

    told = [
        (log["event"], log.get("count"), log.get("skill"), log.get("error"), log.get("cached"))
        for log in logs
    ]
    assert told == [
        ("cache_warming_skills", 3, None, None, None),
        ("skill_warm_failed", None, "water", "not a number", None),
        ("cache_warming_complete", None, None, None, 2),
        ("cache_warming_done", None, None, None, None),
    ]


@pytest.mark.parametrize("failure", [StoreDown("away"), StoreDenied("no index")])
async def test_a_store_that_fails_leaves_the_skills_standing(world: World, failure: StoreError) -> None:
    """The files are served, the numbers are said to be unknown, and the report says what failed."""
    world.store.failure = failure
    await world.actor.start()
    answered, stats = await skill(world, "tea"), await world.ref.stats()

    assert (answered.body, answered.stats, answered.stats_known) == ("body", SkillStats(), False)
    assert len((await catalog(world)).skills) == 3
    assert stats.warm is not None
    assert (stats.warm.status, stats.warm.loaded, stats.warm.failed) == ("cold", 0, 3)
    assert stats.degraded == f"{type(failure).__name__}: {failure}"


@pytest.mark.parametrize("options", [SkillRegistryOptions(warm_deadline_s=0.05, stats_deadline_s=0.02)])
async def test_a_store_that_hangs_does_not_keep_the_container_from_starting(world: World) -> None:
    """The warm ends at its deadline, and a skill waits for its numbers only as long as theirs."""
    world.store.reading.close()
    async with asyncio.timeout(2):
        await world.actor.start()
        answered = await skill(world, "tea")

    assert (answered.body, answered.stats_known) == ("body", False)
    assert (await world.ref.stats()).degraded == "deadline of 0.05 s passed"


async def test_a_store_that_comes_back_is_warmed_from_beside_the_requests(world: World) -> None:
    """The background warms again by itself, and the degradation ends."""
    world.store.failure = StoreDown("away")
    await world.actor.start()
    world.store.failure = None
    await asyncio.sleep(0)
    world.clock.advance(1.0)
    await world.background.drain(1.0)

    assert (await world.ref.stats()).degraded == ""
    assert (await skill(world, "tea")).stats == FIVE_RUNS


@pytest.mark.parametrize("from_the_start", [True, False])
async def test_a_store_that_is_granted_again_makes_ready_without_a_request(
    world: World, *, from_the_start: bool
) -> None:
    """C3: whoever is not ready gets no request, so that the background asks, whether a warm or a run was refused."""
    if not from_the_start:
        await world.actor.start()
    world.store.failure = StoreDenied("key expired")
    if from_the_start:
        await world.actor.start()
    else:
        await world.ref.ask(run("tea"))
    assert (await world.ref.stats()).denied
    world.store.failure = None
    await asyncio.sleep(0)
    world.clock.advance(REFUSED_S * 1.2)
    await world.background.drain(1.0)

    stats = await world.ref.stats()
    assert (False, "") == (stats.denied, stats.degraded)


async def test_a_poisoned_document_costs_its_own_skill_only(world: World) -> None:
    """It is named in the report, its numbers are unknown and not zero, and all others are loaded."""
    world.store.poison["tea"] = "runCount is no number"
    report = await world.ref.warm()

    assert (report.status, report.requested, report.loaded, report.failed) == ("partial", 3, 2, 1)
    assert report.errors == ("tea: runCount is no number",)
    assert ((await skill(world, "tea")).stats_known, (await skill(world, "water")).stats_known) == (
        False,
        True,
    )


async def test_a_poisoned_document_of_no_known_name_makes_nobody_absent(world: World) -> None:
    """A store may escape names: then only documents that were read count as known."""
    world.files.skills.append(skill_file("x/y"))
    world.store.poison["x/y"] = "bad"
    report = await world.ref.warm()

    assert (report.status, report.loaded, report.failed, report.skipped) == ("partial", 1, 1, 2)
    assert ((await skill(world, "x/y")).stats_known, (await skill(world, "water")).stats_known) == (
        False,
        True,
    )


async def test_a_run_that_is_reported_while_a_warm_reads_is_not_forgotten(world: World) -> None:
    """I6: the wave's older numbers never overwrite what this container has counted since."""
    await world.actor.start()
    wave = world.store.reading
    wave.close()
    warming = asyncio.create_task(world.ref.warm(force=True))
    await wave.reached(2)
    world.store.reading = Gate()
    await world.ref.ask(run())
    await world.background.drain(1.0)
    wave.open()
    await warming

    assert (await skill(world, "tea")).stats == SIX_RUNS


async def test_parsing_alone_asks_no_store(world: World) -> None:
    """A snapshot may hold the parsed files: sockets and store reads come after it."""
    await world.actor.parse()
    assert (world.store.asked, world.files.gate.passed) == ([], 1)

    await world.actor.start()
    assert (len(world.store.asked), world.files.gate.passed) == (1, 1)


async def test_a_request_before_the_warm_waits_for_the_files_only(world: World) -> None:
    """Requests that come first share one scan."""
    names = ("tea", "coffee", "WATER", "tea")
    answers = await asyncio.gather(*(skill(world, name) for name in names))

    assert [answer.name for answer in answers] == ["tea", "Coffee Making", "water", "tea"]
    assert world.files.gate.passed == 1


async def test_starting_and_stopping_twice_is_once(world: World) -> None:
    """Both are idempotent."""
    await world.actor.start()
    await world.actor.start()
    await world.actor.stop()
    await world.actor.stop()
    assert len(world.store.asked) == 1


# ---------------------------------------------------------------- files that can't be read


async def test_an_unreadable_folder_is_degraded_and_nobody_is_told_that_a_skill_is_absent() -> None:
    """A failed read is never taken for absence (I5); the catalog carries the reason."""
    world = World(MemoryFiles(set_aside=[UNREADABLE_ROOT]))
    await world.actor.start()
    reply = await world.ref.ask(GetSkill(name="tea"))

    assert reply == Fault(detail="no skill could be read: .: no such file or directory", retry=True)
    assert (await catalog(world)).set_aside == (UNREADABLE_ROOT,)
    assert (await world.ref.stats()).degraded == "WarmFailed: .: no such file or directory"
    await world.stop()


async def test_a_volume_that_comes_late_is_found_by_the_next_warm() -> None:
    """An unreadable folder is read again with each pass; a readable one is not."""
    world = World(MemoryFiles(set_aside=[UNREADABLE_ROOT]))
    await world.actor.start()
    world.files.skills, world.files.set_aside = [skill_file("tea")], []
    report = await world.ref.warm(force=True)
    await world.ref.warm(force=True)

    assert (report.status, report.loaded, world.files.gate.passed) == ("warm", 1, 2)
    assert (await skill(world, "tea")).body == "body"
    await world.stop()


async def test_a_folder_that_hangs_is_given_up_at_its_deadline() -> None:
    """The start is in time, and a question for the catalog is answered with the reason."""
    options = SkillRegistryOptions(warm_deadline_s=0.05, scan_deadline_s=0.05)
    world = World(MemoryFiles(skill_file("tea")), options)
    world.files.gate.close()
    async with asyncio.timeout(2):
        await world.actor.start()
        answered = await catalog(world)

    assert answered.skills == ()
    assert [aside.reason for aside in answered.set_aside] == ["the skills folder was not read within 0.05 s"]
    await world.stop()


async def test_a_file_set_aside_is_told_and_alarms_nobody(world: World) -> None:
    """The report is truthful to the file, but one author's broken file does not make the service degraded."""
    world.files.set_aside = [SetAside(file="b/SKILL.md", reason="binary")]
    await world.actor.start()
    stats = await world.ref.stats()
    assert stats.warm is not None
    assert (stats.warm.status, stats.warm.requested, stats.warm.failed) == ("partial", 4, 1)
    assert stats.warm.errors == ("b/SKILL.md: binary",)
    assert stats.degraded == ""
