"""Coherence: how a changed skill reaches an agent, and what an agent does that sees another version than its own."""

import asyncio

from actors.coherence import CATALOG_EVERY_S, CATALOG_LATE_S, RESCAN_S, SKILL_STALE_S, SKILL_WAIT_S
from contracts.faults import Busy
from contracts.skills import GetCatalog, GetSkill, Skill
from tests.actors.turn_kit import World


def test_the_bound_is_made_of_its_parts() -> None:
    """A minute and some seconds; an agent asks well before a turn would have to."""
    assert SKILL_STALE_S == RESCAN_S + CATALOG_LATE_S + SKILL_WAIT_S == 65.0
    assert CATALOG_EVERY_S < CATALOG_LATE_S


def publish(world: World, body: str, fingerprint: str) -> None:
    """The registry has a new text of a skill."""
    world.registry.skills["cook"] = Skill(
        name="cook", description="Cook a meal", body=body, catalog=fingerprint
    )
    world.registry.fingerprint = fingerprint


async def cook(world: World, update: int) -> str:
    """Have a turn use the skill, and give the text that the model got."""
    await world.say(update, "cook a meal")
    await world.idle()
    return world.now.model.asked[-1].skill_body


async def test_an_idle_agent_keeps_its_catalog_current(world: World) -> None:
    """Without any turn it asks whether its fingerprint is still the one; the next turn then finds the new text."""
    assert await cook(world, 1) == "Boil."
    publish(world, "Fry.", "g")
    await asyncio.sleep(CATALOG_EVERY_S)
    asked = [each for each in world.registry.asked if isinstance(each, GetCatalog)]
    assert asked[-1] == GetCatalog(known="f")
    before = len(world.registry.asked)
    assert await cook(world, 2) == "Fry."
    assert GetCatalog not in {type(each) for each in world.registry.asked[before:]}


async def test_an_agent_whose_loop_stood_still_asks_before_its_turn(world: World) -> None:
    """A container that idled has not asked for long: the turn does, and uses the new text."""
    assert await cook(world, 1) == "Boil."
    await world.now.agent._catalog.stop()
    publish(world, "Fry.", "g")
    await asyncio.sleep(CATALOG_LATE_S)
    assert await cook(world, 2) == "Fry."


async def test_a_question_under_way_is_no_answer(world: World) -> None:
    """A loop that stood still wakes to its tick and to a turn at once: the turn does not go by what is being asked."""
    assert await cook(world, 1) == "Boil."
    await world.now.agent._catalog.stop()
    publish(world, "Fry.", "g")
    await asyncio.sleep(CATALOG_LATE_S)
    world.registry.latency_s = 1.0
    tick = asyncio.create_task(world.now.agent._answering.renew())
    await asyncio.sleep(0)
    assert await cook(world, 2) == "Fry."
    await tick


async def test_an_answer_that_was_overtaken_is_not_taken_over(world: World) -> None:
    """What the registry told to an earlier question does not replace what it told to a later one."""
    agent = world.now.agent
    world.registry.latency_s = 2.0
    publish(world, "Old.", "e")
    earlier = asyncio.create_task(agent._answering.renew())
    await asyncio.sleep(0.5)
    world.registry.latency_s = 0.5
    publish(world, "New.", "g")
    await agent._answering.renew()
    await earlier
    assert "g" == agent._answering.catalog.fingerprint


async def test_a_text_of_another_catalog_serves_one_turn_and_renews_the_agents_own(world: World) -> None:
    """Whichever of the two is behind: the text is not held under a catalog that it does not belong to."""
    publish(world, "Old, of a registry that is behind.", "e")
    world.registry.fingerprint = "f"
    assert await cook(world, 1) == "Old, of a registry that is behind."
    assert [type(each) for each in world.registry.asked].count(GetCatalog) == 2
    publish(world, "New.", "f")
    assert await cook(world, 2) == "New."


async def test_a_text_of_the_agents_own_catalog_is_asked_for_once(world: World) -> None:
    """The second turn needs no call of the registry for it."""
    publish(world, "Fry.", "f")
    assert [await cook(world, update) for update in (1, 2)] == ["Fry.", "Fry."]
    assert [type(each) for each in world.registry.asked].count(GetSkill) == 1


async def test_a_registry_that_is_away_leaves_the_agent_with_what_it_knows(world: World) -> None:
    """Its ticks fail, and turns neither wait for them nor lose the skill."""
    assert await cook(world, 1) == "Boil."
    world.registry.fault = Busy(detail="starting")
    await asyncio.sleep(CATALOG_LATE_S * 1.5)
    started = asyncio.get_running_loop().time()
    assert await cook(world, 2) == "Boil."
    assert asyncio.get_running_loop().time() - started < 1.0
