"""Faults H1 and H2: what a model may call, and what it is told when it calls what is not there."""

import pytest

from actors.agent_loop import ROUNDS
from actors.ports import Completion
from actors.tools import CALLS_MOST, RESULT_BYTES
from contracts.skills import Skill
from contracts.turns import ToolCall, ToolResult
from tests.actors.turn_kit import BOT, World


def calling(*calls: ToolCall) -> Completion:
    """An answer that is a wish to use tools."""
    return Completion(text="", tool_calls=calls, stop="tools")


async def told(world: World, *calls: ToolCall) -> tuple[ToolResult, ...]:
    """Have the model make these calls in a turn, and give what it was told."""
    world.now.model.script.append(calling(*calls))
    await world.say(1, "hello")
    await world.idle()
    assert "answered" == world.state(1)
    return world.now.model.asked[-1].messages[-1].tool_results


@pytest.mark.parametrize(
    ("name", "arguments", "content", "failed"),
    [
        ("read_skill", '{"name": "cook"}', "Boil.", False),
        ("read_skill_file", '{"skill": "cook", "path": "menu.txt"}', "Soup.", False),
        ("read_skill", '{"name": "swim"}', "no skill of that name; near it are: cook", True),
        ("read_skill_file", '{"skill": "cook", "path": "../secret"}', "no such file", True),
        ("rm", "{}", "there is no such tool; there are read_skill, read_skill_file", True),
        ("read_skill", "{", "these arguments can't be read: Input data was truncated", True),
        (
            "read_skill",
            '{"name": 1}',
            "these arguments can't be read: Expected `str`, got `int` - at `$.name`",
            True,
        ),
        ("read_skill", "[" * 100_000, "these arguments can't be read: ", True),
    ],
)
async def test_each_call_is_answered(
    world: World, name: str, arguments: str, content: str, failed: bool
) -> None:
    """With what it asked for, or with what is wrong with it; the turn is answered all the same."""
    (result,) = await told(world, ToolCall(id="a", name=name, arguments=arguments))
    assert ("a", failed) == (result.id, result.failed)
    assert result.content.startswith(content)


async def test_a_skill_that_is_read_is_whole(world: World) -> None:
    """As one that was chosen for a message: the model learns what was learned, and which files it may read."""
    cook = Skill(name="cook", body="Boil.", memory="Salt.", error_history="Burnt.", resources=("menu.txt",))
    world.registry.skills["cook"] = cook
    (result,) = await told(world, ToolCall(id="a", name="read_skill", arguments='{"name": "cook"}'))
    whole = "Boil.\n\n## Memory\nSalt.\n\n## Error History\nBurnt.\n\n## Files beside this skill\nmenu.txt"
    assert (whole, False) == (result.content, result.failed)
    await world.say(2, "/skill cook soup")
    await world.idle()
    assert whole == world.now.model.asked[-1].skill_body


async def test_a_result_is_bounded(world: World) -> None:
    """A large file is cut, and the model told so."""
    world.registry.menu = b"x" * (RESULT_BYTES + 5)
    call = ToolCall(id="a", name="read_skill_file", arguments='{"skill": "cook", "path": "menu.txt"}')
    (result,) = await told(world, call)
    assert result.content.endswith(f"x\n[cut: {RESULT_BYTES + 5} bytes in all]")
    assert len(result.content) < RESULT_BYTES + 100


async def test_too_many_calls_at_once_are_refused(world: World) -> None:
    """Each has its result all the same, so that the pair is whole."""
    calls = [
        ToolCall(id=str(n), name="read_skill", arguments='{"name": "cook"}') for n in range(CALLS_MOST + 2)
    ]
    results = await told(world, *calls)
    assert [call.id for call in calls] == [result.id for result in results]
    assert [False] * CALLS_MOST + [True] * 2 == [result.failed for result in results]


async def test_a_registry_that_hangs_fails_the_call_and_not_the_turn(world: World) -> None:
    """Within the call's deadline."""
    world.now.model.chaos = lambda prompt: (
        _hang(world) if not prompt.messages[-1].tool_results else "without it"
    )
    await world.say(1, "hello")
    await world.idle()
    (result,) = world.now.model.asked[-1].messages[-1].tool_results
    assert ("the skills can't be reached now", True) == (result.content, result.failed)
    assert ["answered", "without it"] == [world.state(1), world.turn(1).chunks[0].text]


async def test_an_endless_loop_of_tools_ends_with_a_notice(world: World) -> None:
    """After the last round no tool is offered; who calls on gets no further, and the history stays as it was."""
    world.now.model.chaos = lambda _: calling(
        ToolCall(id="a", name="read_skill", arguments='{"name": "cook"}')
    )
    await world.say(1, "hello")
    await world.idle()
    offered = [bool(prompt.tools) for prompt in world.now.model.asked]
    assert [True] * ROUNDS + [False] == offered
    record = world.database.updates[f"{BOT}:1"]
    assert ("answered", "model: it calls tools and does not answer") == (record.state, record.reason)
    assert () == world.session().messages


async def test_only_question_and_answer_are_remembered(world: World) -> None:
    """A crash between a call and its result leaves nothing to repair: neither was stored (H2)."""
    await told(world, ToolCall(id="a", name="read_skill", arguments='{"name": "cook"}'))
    assert [("user", "hello"), ("assistant", "echo: ")] == [
        (m.role, m.text) for m in world.session().messages
    ]
    assert not any(message.tool_calls or message.tool_results for message in world.session().messages)


def _hang(world: World) -> Completion:
    world.registry.hangs = True
    return calling(ToolCall(id="a", name="read_skill", arguments='{"name": "cook"}'))
