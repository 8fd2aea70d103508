"""The agent's commands, buttons, groups and skills."""

import asyncio

import pytest

from contracts.faults import Busy
from contracts.sessions import PatchSession, SessionPatch
from tests.actors.turn_kit import BOT, CHAT, World
from tests.actors.turns.steps import replies


async def test_forget_erases_session_and_texts(world: World) -> None:
    """Session, the texts of all ended updates and of the command itself; the confirmation is the last that is said."""
    seen = await replies(world, "my secret", "/forget")
    assert seen[-1].startswith("I erased")
    assert world.database.sessions[CHAT].body == b""
    assert world.database.updates[f"{BOT}:0"].body == b""
    assert world.turn(1).incoming.text == ""
    assert await replies(world, "/status") == [*seen, world.screen.texts(CHAT)[-1]]
    assert "turns: 0" in world.screen.texts(CHAT)[-1]


async def test_clear_keeps_settings(world: World) -> None:
    """`/clear` empties the conversation, `/mode` stays."""
    await replies(world, "/mode brief", "hello", "/clear")
    assert (world.session().mode, world.session().messages) == ("brief", ())


async def test_mode_on_a_cold_cache_keeps_all_else(world: World) -> None:
    """After a restart without any warm session `/mode` changes the mode and nothing besides."""
    await replies(world, "hello")
    before = world.session()
    await world.boot()
    world.now.shard.sessions.unlearn(CHAT)
    await replies(world, "/mode brief")
    after = world.session()
    assert (after.mode, after.turns, after.messages) == ("brief", before.turns + 1, before.messages)


@pytest.mark.parametrize(
    ("text", "more", "expected"),
    [
        ("/nonsense", {}, ["I don't know the command `/nonsense`. /help lists what I know."]),
        ("/nonsense", {"chat_type": "group"}, []),
        (
            "/nonsense@OurBot",
            {"chat_type": "group"},
            ["I don't know the command `/nonsense`. /help lists what I know."],
        ),
        ("/nonsense me@home", {"chat_type": "group"}, []),
        ("mode:brief", {"callback": "9"}, ["Mode **brief**: a few sentences."]),
        ("forged:data:x", {"callback": "9"}, []),
        ("", {"callback": "9"}, []),
        ("plain", {"chat_type": "supergroup"}, ["echo: plain"]),
        ("/skill sing la", {}, ["echo: la"]),
        ("/skill dance x", {}, ["There is no skill `dance`. Did you mean `cook`?"]),
    ],
)
async def test_commands_and_buttons(
    world: World, text: str, more: dict[str, object], expected: list[str]
) -> None:
    """Each is answered, or ends as ignored, and nothing of it breaks the chat (A12)."""
    assert await replies(world, text, **more) == expected
    assert world.state(0) == ("answered" if expected else "ignored")


async def test_half_a_character_is_no_reason_to_stay_silent(world: World) -> None:
    """A lone surrogate in a model's answer, which nobody can encode, is answered as a question mark."""
    world.now.model.script.append("half \ud83d here")
    assert await replies(world, "hello") == ["half ? here"]
    assert world.session().messages[-1].text == "half ? here"
    assert len(world.now.model.asked) == 1


async def test_a_group_that_became_a_supergroup(world: World) -> None:
    """A11: the session goes along, the old one is erased, and nothing is said."""
    await replies(world, "/mode brief")
    await replies(world, "", kind="migrate", migrate_to=-1001)
    assert (world.session(-1001).mode, world.session(-1001).chat) == ("brief", -1001)
    assert (world.database.sessions[CHAT].body, world.state(1)) == (b"", "ignored")


async def test_whose_private_chat_it_is_is_noted_once(world: World) -> None:
    """The user is kept from the first message; in groups nobody is."""
    await replies(world, "hello", user=77)
    assert world.session().user == 77
    await world.say(9, "hi", chat=-5, user=77, chat_type="group")
    await world.idle()
    assert world.session(-5).user == 0


async def test_a_chosen_skill_is_used_and_its_run_reported(world: World) -> None:
    """The best skill's text goes to the model, and its run counts once."""
    await replies(world, "cook a meal")
    assert world.now.model.asked[-1].skill_body == "Boil."
    assert [(run.skill, run.run, run.succeeded) for run in world.registry.runs] == [
        ("cook", f"{BOT}:0", True)
    ]


@pytest.mark.parametrize("how", ["hangs", "fault"])
async def test_a_registry_that_is_away_delays_no_answer_for_long(world: World, how: str) -> None:
    """The turn goes on without the skill."""
    world.registry.hangs, world.registry.fault = how == "hangs", Busy() if how == "fault" else None
    started = asyncio.get_running_loop().time()
    assert await replies(world, "cook a meal") == ["echo: cook a meal"]
    assert asyncio.get_running_loop().time() - started <= 6.0
    assert world.now.model.asked[-1].skill_body == ""


async def test_typing_is_shown_for_long_turns_only(world: World) -> None:
    """A quick answer needs no sign of life, a slow one has one every 4 s."""
    await replies(world, "quick")
    assert world.screen.typing[CHAT] == 0
    world.now.model.took_s = 10.0
    await replies(world, "slow")
    assert world.screen.typing[CHAT] == 3


async def test_a_session_of_another_shard_is_not_touched(world: World) -> None:
    """A patch for one chat leaves the others as they are."""
    await world.ask(PatchSession(chat=CHAT + 1, patch=SessionPatch(mode="brief")))
    await replies(world, "hello")
    assert world.session(CHAT + 1).mode == "brief"
