"""What tests ask a registry of three skills, and the numbers that they expect."""

from contracts.skills import Catalog, GetCatalog, GetSkill, ReportRun, SetAside, Skill, SkillStats
from tests.actors.skill_kit import World

FIVE_RUNS = SkillStats(
    run_count=5, success_count=4, total_duration_ms=50, success_rate=0.8, mean_duration_ms=10
)
SIX_RUNS = SkillStats(
    run_count=6, success_count=5, total_duration_ms=60, success_rate=5 / 6, mean_duration_ms=10
)
UNREADABLE_ROOT = SetAside(file=".", reason="no such file or directory")


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
