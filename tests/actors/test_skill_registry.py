"""The SkillRegistryActor answers from what it has read, whatever its files and its store do."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from actors.coherence import RESCAN_S
from actors.stores import StoreDenied, StoreDown, StoreError
from contracts.base import Message
from contracts.faults import (
    BadRequest,
    Busy,
    Fault,
    ResourceNotFound,
    SkillNotFound,
    StoreRefused,
    StoreUnavailable,
)
from contracts.skills import (
    Catalog,
    CatalogNotModified,
    GetCatalog,
    GetResource,
    GetSkill,
    ReloadSkills,
    ReportRun,
    Resource,
    RunRecorded,
    SetAside,
    Skill,
    SkillsReloaded,
    SkillStats,
)
from contracts.warming import StoreUse
from tests.actors.skill_kit import Gate, MemoryFiles, World, skill_file

FIVE_RUNS = SkillStats(
    run_count=5, success_count=4, total_duration_ms=50, success_rate=0.8, mean_duration_ms=10
)
SIX_RUNS = SkillStats(
    run_count=6, success_count=5, total_duration_ms=60, success_rate=5 / 6, mean_duration_ms=10
)
UNREADABLE_ROOT = SetAside(file=".", reason="no such file or directory")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A registry of three skills; `tea` has run five times."""
    made = World(
        MemoryFiles(skill_file("tea"), skill_file("Coffee Making", folder="coffee"), skill_file("water"))
    )
    made.store.stats["tea"] = FIVE_RUNS
    yield made
    await made.stop()


async def skill(world: World, name: str) -> Skill:
    """Ask for a skill that must be there."""
    reply = await world.ref.ask(GetSkill(name=name))
    assert isinstance(reply, Skill), reply
    return reply


async def catalog(world: World) -> Catalog:
    """Ask for the whole catalog."""
    reply = await world.ref.ask(GetCatalog())
    assert isinstance(reply, Catalog), reply
    return reply


def run(
    skill: str = "tea", *, name: str = "run-1", duration_ms: float = 10.0, succeeded: bool = True
) -> ReportRun:
    """Make a report of one run."""
    return ReportRun(skill=skill, run=name, succeeded=succeeded, duration_ms=duration_ms)


# ---------------------------------------------------------------- warm


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
    world = World(MemoryFiles(skill_file("tea")))
    world.files.gate.close()
    async with asyncio.timeout(2):
        await world.actor.start()
        answered = await catalog(world)

    assert answered.skills == ()
    assert [aside.reason for aside in answered.set_aside] == ["the skills folder was not read within 0.05 s"]
    await world.stop()


# ---------------------------------------------------------------- catalog


async def test_the_catalog_is_sorted_and_without_bodies(world: World) -> None:
    """Order does not depend on case, and one line a skill is all that a model needs to choose."""
    answered = await catalog(world)
    assert [summary.name for summary in answered.skills] == ["Coffee Making", "tea", "water"]


async def test_who_knows_the_catalog_is_not_sent_it_again(world: World) -> None:
    """The fingerprint alone says that nothing has changed."""
    fingerprint = (await catalog(world)).fingerprint

    assert await world.ref.ask(GetCatalog(known=fingerprint)) == CatalogNotModified(fingerprint=fingerprint)
    assert isinstance(await world.ref.ask(GetCatalog(known="other")), Catalog)


async def test_the_fingerprint_changes_exactly_when_an_answer_would(world: World) -> None:
    """Equal files have equal fingerprints; a body, a skill or a set-aside file more changes it."""
    seen = [(await catalog(world)).fingerprint]
    world.files.skills.reverse()
    await world.ref.ask(ReloadSkills())
    assert (await catalog(world)).fingerprint == seen[0]

    world.files.skills[0] = skill_file("water", body="other")
    await world.ref.ask(ReloadSkills())
    seen.append((await catalog(world)).fingerprint)
    world.files.skills.append(skill_file("milk"))
    await world.ref.ask(ReloadSkills())
    seen.append((await catalog(world)).fingerprint)
    world.files.set_aside.append(SetAside(file="b/SKILL.md", reason="binary"))
    await world.ref.ask(ReloadSkills())
    seen.append((await catalog(world)).fingerprint)

    assert len(set(seen)) == 4


# ---------------------------------------------------------------- one skill


@pytest.mark.parametrize(
    "name", ["Coffee Making", "coffee making", "COFFEE  MAKING", " coffee ", "Coffee", "\tcoffee making\n"]
)
async def test_a_skill_is_found_by_name_or_folder_in_any_case(world: World, name: str) -> None:
    """G2: what a user or a model writes finds it, and the answer carries the declared name."""
    assert (await skill(world, name)).name == "Coffee Making"


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "../tea", "/tea", "tea/", "tea/SKILL.md", "C:\\tea", "te\0a", "x" * 100_000, "*"],
)
async def test_what_is_no_name_is_not_found(world: World, name: str) -> None:
    """G2: paths open nothing; the answer echoes a bounded part of the question."""
    reply = await world.ref.ask(GetSkill(name=name))

    assert isinstance(reply, SkillNotFound)
    assert reply.name == name[:200]
    assert not reply.retry


@pytest.mark.parametrize(
    ("name", "suggestions"),
    [
        ("tae", ("tea",)),
        ("cofee", ("Coffee Making",)),
        ("coffe makeing", ("Coffee Making",)),
        ("WATR", ("water",)),
        ("zzz", ()),
    ],
)
async def test_a_near_miss_is_told_what_is_near(
    world: World, name: str, suggestions: tuple[str, ...]
) -> None:
    """Suggestions are declared names, whether the name or the folder was near."""
    reply = await world.ref.ask(GetSkill(name=name))
    assert isinstance(reply, SkillNotFound)
    assert reply.suggestions == suggestions


async def test_suggestions_are_few_and_best_first() -> None:
    """At most five, the nearest first."""
    world = World(MemoryFiles(*(skill_file(f"brew-tea-{n}") for n in range(10)), skill_file("brew-tea")))
    reply = await world.ref.ask(GetSkill(name="brew-te"))

    assert isinstance(reply, SkillNotFound)
    assert (len(reply.suggestions), reply.suggestions[0]) == (5, "brew-tea")
    await world.stop()


async def test_a_name_wins_over_a_folder() -> None:
    """A folder of that name does not hide the skill that declares it."""
    world = World(
        MemoryFiles(skill_file("a", folder="b"), skill_file("b", folder="c"), skill_file("d", folder="a"))
    )

    assert [(await skill(world, name)).name for name in ("a", "b", "c", "d")] == ["a", "b", "b", "d"]
    await world.stop()


# ---------------------------------------------------------------- statistics


async def test_statistics_are_read_again_after_their_lifetime(world: World) -> None:
    """Within five minutes they come from L1, after at most five and a half from the store."""
    await world.actor.start()
    world.store.stats["tea"] = SIX_RUNS
    world.clock.advance(269)
    assert (await skill(world, "tea")).stats == FIVE_RUNS

    world.clock.advance(62)
    assert (await skill(world, "tea")).stats == SIX_RUNS
    assert (await world.ref.stats()).store_reads == StoreUse(calls=1, documents=1)


@pytest.mark.parametrize("failure", [StoreDown("away"), StoreDenied("no"), None])
async def test_old_statistics_are_better_than_none(world: World, failure: StoreError | None) -> None:
    """When the store fails or hangs, the last numbers known are given, up to an hour past their end."""
    await world.actor.start()
    world.store.failure = failure
    if failure is None:
        world.store.reading.close()
    world.clock.advance(1_000)
    late = await skill(world, "tea")
    world.clock.advance(4_000)
    later = await skill(world, "tea")

    assert (late.stats, late.stats_known) == (FIVE_RUNS, True)
    assert (later.stats, later.stats_known) == (SkillStats(), False)


async def test_a_store_that_fails_is_not_asked_by_every_request(world: World) -> None:
    """After a failure, stale numbers are given at once for a while."""
    await world.actor.start()
    world.store.failure = StoreDown("away")
    world.clock.advance(1_000)
    for _ in range(5):
        await skill(world, "tea")

    assert len(world.store.asked) == 2


async def test_many_who_ask_at_once_cost_one_read(world: World) -> None:
    """Single flight: the statistics of a skill are on their way once."""
    await world.actor.parse()
    world.store.reading.close()
    asking = [asyncio.create_task(skill(world, "tea")) for _ in range(20)]
    await world.store.reading.reached(1)
    await asyncio.sleep(0)  # the rest join
    world.store.reading.open()
    answers = await asyncio.gather(*asking)

    assert world.store.asked == [("tea",)]
    assert [answer.stats for answer in answers] == [FIVE_RUNS] * 20


# ---------------------------------------------------------------- runs


async def test_a_reported_run_is_in_the_next_answer(world: World) -> None:
    """G4: it is durable before the answer, by declared name, and the renewal waits for no request."""
    await world.actor.start()
    assert await world.ref.ask(run(" TEA ")) == RunRecorded(skill="tea")
    await world.background.drain(1.0)
    assert (await skill(world, "tea")).stats == SIX_RUNS
    stats = await world.ref.stats()

    assert (stats.store_reads, stats.store_writes) == (StoreUse(), StoreUse(calls=1, documents=1))
    assert stats.background_reads.calls == 2


async def test_the_same_run_counts_once(world: World) -> None:
    """A report that is sent again after a lost answer changes nothing."""
    await world.actor.start()
    for _ in range(3):
        assert await world.ref.ask(run()) == RunRecorded(skill="tea")
    assert (await skill(world, "tea")).stats == SIX_RUNS


async def test_a_thousand_reports_at_once_are_counted_exactly(world: World) -> None:
    """Count, success rate and mean of the next answer are those of all runs."""
    await world.actor.start()
    reports = [run("water", name=f"r{n}", duration_ms=n, succeeded=n % 4 > 0) for n in range(1000)]
    await asyncio.gather(*(world.ref.ask(report) for report in reports))
    stats = (await skill(world, "water")).stats

    assert (stats.run_count, stats.success_rate, stats.mean_duration_ms) == (1000, 0.75, 499.5)


@pytest.mark.parametrize("duration_ms", [-1.0, -0.001, math.nan, math.inf, -math.inf])
async def test_a_duration_that_no_run_can_have_is_refused(world: World, duration_ms: float) -> None:
    """One NaN would spoil the mean for ever; it reaches no store."""
    assert isinstance(await world.ref.ask(run(duration_ms=duration_ms)), BadRequest)
    assert (await world.ref.stats()).store_writes == StoreUse()


@pytest.mark.parametrize("name", ["", "x" * 201])
async def test_a_run_needs_an_id_within_its_bound(world: World, name: str) -> None:
    """Without an id the same run could count twice."""
    assert isinstance(await world.ref.ask(run(name=name)), BadRequest)


async def test_a_run_of_an_unknown_skill_is_not_counted(world: World) -> None:
    """No document is made for a name that somebody made up."""
    reply = await world.ref.ask(run("tae"))

    assert isinstance(reply, SkillNotFound)
    assert reply.suggestions == ("tea",)
    assert world.store.stats.keys() == {"tea"}


@pytest.mark.parametrize(
    ("failure", "fault"),
    [
        (StoreDown("away"), StoreUnavailable(detail="away")),
        (StoreDenied("quota"), StoreRefused(detail="quota")),
        (None, StoreUnavailable(detail="the run was not counted within 0.02 s")),
    ],
)
async def test_a_run_that_may_not_be_counted_is_answered_so(
    world: World, failure: StoreError | None, fault: Fault
) -> None:
    """The caller hears whether to report again, and the next answer asks the store what is true."""
    await world.actor.start()
    world.store.failure = failure
    if failure is None:
        world.store.writing.close()
    reply: Message = await world.ref.ask(run())
    world.store.failure = None
    world.store.stats["tea"] = SIX_RUNS  # it was written although the answer was lost

    assert reply == fault
    assert (await skill(world, "tea")).stats == SIX_RUNS


# ---------------------------------------------------------------- resources


async def test_a_resource_is_given_by_any_name_of_its_skill(world: World) -> None:
    """The bytes beside the skill file, under the declared name."""
    world.files.resources["coffee/SKILL.md", "beans.txt"] = b"\0arabica"
    reply = await world.ref.ask(GetResource(skill="COFFEE", path="beans.txt"))

    assert reply == Resource(
        skill="Coffee Making", path="beans.txt", content=b"\0arabica", fingerprint="Coffee Making:body"
    )


async def test_a_resource_that_is_not_there_says_so(world: World) -> None:
    """Neither the skill's absence nor a hanging volume is taken for the file's."""
    assert isinstance(await world.ref.ask(GetResource(skill="tae", path="x")), SkillNotFound)
    assert await world.ref.ask(GetResource(skill="tea", path="../x")) == ResourceNotFound(
        skill="tea", path="../x", detail="no such file"
    )
    world.files.gate.close()
    assert isinstance(await world.ref.ask(GetResource(skill="tea", path="x")), Busy)


async def test_a_file_set_aside_is_told_and_alarms_nobody(world: World) -> None:
    """The report is truthful to the file, but one author's broken file does not make the service degraded."""
    world.files.set_aside = [SetAside(file="b/SKILL.md", reason="binary")]
    await world.actor.start()
    stats = await world.ref.stats()
    assert stats.warm is not None
    assert (stats.warm.status, stats.warm.requested, stats.warm.failed) == ("partial", 4, 1)
    assert stats.warm.errors == ("b/SKILL.md: binary",)
    assert stats.degraded == ""


async def test_statistics_that_the_store_does_not_give_are_told_until_it_does(world: World) -> None:
    """A store that goes away while serving degrades the registry, although its skills are still answered."""
    await world.actor.start()
    world.clock.advance(3600.0)
    world.store.failure = StoreDown("away")
    await skill(world, "tea")
    assert (await world.ref.stats()).degraded == "StoreDown: away"
    world.store.failure = None
    world.clock.advance(3600.0)
    await skill(world, "tea")
    assert (await world.ref.stats()).degraded == ""


# ---------------------------------------------------------------- reload


async def test_a_reload_says_what_it_changed(world: World) -> None:
    """Added, removed and changed skills by name, and the new catalog's fingerprint."""
    await world.actor.start()
    world.files.skills = [skill_file("tea", body="new"), skill_file("milk"), skill_file("water")]
    world.files.set_aside = [SetAside(file="b/SKILL.md", reason="binary")]
    reply = await world.ref.ask(ReloadSkills())

    assert reply == SkillsReloaded(
        fingerprint=(await catalog(world)).fingerprint,
        count=3,
        added=("milk",),
        removed=("Coffee Making",),
        changed=("tea",),
        set_aside=(SetAside(file="b/SKILL.md", reason="binary"),),
    )
    assert (await skill(world, "tea")).body == "new"


async def test_files_are_read_again_without_being_asked(world: World) -> None:
    """Every registry sees a change within its part of the bound, until its actor stops."""
    await world.actor.start()
    world.files.skills = [skill_file("tea", body="new")]
    for _ in range(3):
        world.clock.advance(RESCAN_S)
        await asyncio.sleep(0.01)
    assert (await skill(world, "tea")).body == "new"
    assert (await skill(world, "tea")).catalog == (await catalog(world)).fingerprint
    await world.actor.stop()
    scans = world.files.gate.passed
    world.clock.advance(RESCAN_S)
    await asyncio.sleep(0.01)
    assert (scans, 4) == (world.files.gate.passed, scans)


async def test_answers_go_on_beside_a_reload_and_change_at_once(world: World) -> None:
    """G3: until the scan has ended all answers are the old ones, and a catalog that was given stays as it is."""
    await world.actor.start()
    old = await catalog(world)
    world.files.gate.close()
    world.files.skills = [skill_file("tea", body="new")]
    reloading = asyncio.create_task(world.ref.ask(ReloadSkills()))
    await asyncio.sleep(0)
    during = ((await skill(world, "tea")).body, (await catalog(world)).fingerprint)
    world.files.gate.open()
    await reloading

    assert during == ("body", old.fingerprint)
    assert [summary.name for summary in old.skills] == ["Coffee Making", "tea", "water"]
    assert ((await skill(world, "tea")).body, len((await catalog(world)).skills)) == ("new", 1)


async def test_a_reload_sees_what_was_changed_before_it_was_asked(world: World) -> None:
    """A scan under way may have passed the changed file, so a reload starts its own; many share one."""
    await world.actor.start()
    world.files.gate.close()
    first = asyncio.create_task(world.ref.ask(ReloadSkills()))
    await world.files.gate.reached(2)
    world.files.skills = [skill_file("tea", body="newest")]
    more = [asyncio.create_task(world.ref.ask(ReloadSkills())) for _ in range(5)]
    await asyncio.sleep(0)
    world.files.gate.open()
    await asyncio.gather(first, *more)

    assert (await skill(world, "tea")).body == "newest"
    assert world.files.gate.passed == 3


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_reload_that_can_read_nothing_keeps_what_is_there(world: World, hangs: bool) -> None:
    """A volume that is away for a moment does not take the skills with it."""
    await world.actor.start()
    world.files.skills, world.files.set_aside = [], [UNREADABLE_ROOT]
    if hangs:
        world.files.gate.close()
    reply = await world.ref.ask(ReloadSkills())

    assert isinstance(reply, Fault)
    assert reply.retry
    assert (await skill(world, "tea")).body == "body"


async def test_a_folder_that_was_emptied_is_empty_after_the_reload(world: World) -> None:
    """Reading that there is nothing is not the same as reading nothing."""
    await world.actor.start()
    world.files.skills = []
    reply = await world.ref.ask(ReloadSkills())

    assert isinstance(reply, SkillsReloaded)
    assert (reply.count, reply.removed) == (0, ("Coffee Making", "tea", "water"))
    assert isinstance(await world.ref.ask(GetSkill(name="tea")), SkillNotFound)
