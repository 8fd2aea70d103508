"""The agent: what it answers, the model's failures, heartbeats, lost leases, and its orderly end."""

import asyncio

import pytest

from actors.answering import (
    ANSWER_CHARACTERS,
    MODEL_BUDGET_S,
    NOTICE,
    REMEMBERED_CHARACTERS,
)
from actors.chat_agent import ChatAgentOptions
from actors.coherence import SKILL_WAIT_S
from actors.insist import PAUSES_S
from actors.ports import MaybeSent, ModelError, TokenRefused
from actors.turn_leases import MAX_ATTEMPTS
from app.settings import Scaling
from contracts.chat import TakeTurn, TurnsTaken
from contracts.faults import Busy, Internal
from contracts.sessions import PatchSession, SessionPatch
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import BOT, CHAT, World

OUTAGE: list[Mishap] = ["before"] * 40


async def replies(world: World, *texts: str, **more: object) -> list[str]:
    """What the chat sees after these messages."""
    for number, text in enumerate(texts, start=len(world.database.updates)):
        await world.say(number, text, **more)  # type: ignore[arg-type]  # fields of Incoming
        await world.idle()
    return world.screen.texts(CHAT)


async def test_a_ticket_works_the_whole_mailbox(world: World) -> None:
    """One call answers all that waits, in order, and says how many."""
    for update in range(3):
        await world.accept(update, str(update))
    taken = await world.agent.ask(TakeTurn(chat=CHAT))
    assert taken == TurnsTaken(chat=CHAT, turns=3, stopped_by="empty")
    assert world.screen.texts(CHAT) == ["echo: 0", "echo: 1", "echo: 2"]


async def test_tickets_for_the_same_chat_do_not_double(world: World) -> None:
    """D4: however often a ticket comes, also at once, each message has one answer."""
    for update in range(3):
        await world.accept(update, str(update))
    await asyncio.gather(*(world.agent.ask(TakeTurn(chat=CHAT)) for _ in range(10)))
    assert world.screen.texts(CHAT) == ["echo: 0", "echo: 1", "echo: 2"]


async def test_a_long_chain_goes_on_in_a_new_call(world: World) -> None:
    """A call ends within its budget, so that no Modal input times out; the next one is on its way."""
    world.now.model.took_s = 1.5
    for update in range(5):
        await world.accept(update, str(update))
    taken = await world.agent.ask(TakeTurn(chat=CHAT))
    assert isinstance(taken, TurnsTaken)
    assert (taken.turns, taken.stopped_by) == (3, "budget")
    await asyncio.sleep(60.0)
    assert len(world.screen.texts(CHAT)) == 5


@pytest.mark.parametrize(
    ("failure", "seen"),
    [
        (ModelError("529", notice="busy", retry=True), "busy"),
        (ModelError("refusal", notice="", retry=False), NOTICE),
        ("", NOTICE),
        (" \n", NOTICE),
    ],
)
async def test_a_model_that_fails_gives_one_notice(
    world: World, failure: ModelError | str, seen: str
) -> None:
    """H1: the user is told once, and the history holds nothing of it."""
    world.now.model.script.append(failure)
    assert await replies(world, "first", "second") == [seen, "echo: second"]
    assert [message.text for message in world.session().messages] == ["second", "echo: second"]
    assert world.now.agent.counters["model_failures"] == 1


async def test_a_model_that_hangs_is_given_up(world: World) -> None:
    """H1: past its budget the user has the notice, although the lease was renewed all the while."""
    world.now.model.took_s = 10_000.0
    assert await replies(world, "hello") == [NOTICE]
    assert world.state(0) == "answered"


async def test_an_answer_without_end_is_cut(world: World) -> None:
    """H1: what is stored and sent stays bounded."""
    world.now.model.script.append("x" * 1_000_000)
    (seen,) = await replies(world, "hello")
    assert len(seen) == ANSWER_CHARACTERS
    assert max(len(message.text) for message in world.session().messages) == REMEMBERED_CHARACTERS


def test_a_chain_of_turns_fits_a_modal_input() -> None:
    """A turn begun at the end of the chain's budget, at its slowest, ends before Modal ends the input."""
    slowest_s = SKILL_WAIT_S + MODEL_BUDGET_S + sum(PAUSES_S)
    assert ChatAgentOptions().chain_budget_s + slowest_s < Scaling().timeout


async def test_a_defect_in_a_turn_is_tried_five_times(world: World) -> None:
    """A turn that raises every time is dead-lettered, and the chat's next message is answered."""
    world.now.model.script.extend(ValueError("defect") for _ in range(5))
    await world.accept(1, "poison")
    await world.accept(2, "fine")
    assert isinstance(await world.agent.ask(TakeTurn(chat=CHAT)), Internal)
    await world.settle()
    assert (world.state(1), world.screen.texts(CHAT)) == ("dead_lettered", ["echo: fine"])


async def test_an_outage_of_the_store_burns_no_attempts(world: World) -> None:
    """The commit is tried until the store is back, far beyond five times, and the answer arrives."""
    world.now.store.fail("write_turn", *OUTAGE)
    await world.say(1)
    await world.settle()
    assert (world.state(1), world.screen.texts(CHAT)) == ("answered", ["echo: hello"])
    assert world.now.store.injected["store before"] == len(OUTAGE)


# ---------------------------------------------------------------- leases


async def test_a_long_turn_keeps_its_lease(world: World) -> None:
    """A model that takes 40 s is asked once: the heartbeat keeps everybody else away."""
    world.now.model.took_s = 40.0
    await world.say(1)
    for _ in range(8):
        await asyncio.sleep(5.0)
        assert await world.sweep() == ()
    await world.idle()
    assert (len(world.now.model.asked), world.screen.texts(CHAT)) == (1, ["echo: hello"])


async def test_a_lease_lost_while_the_model_is_asked_ends_the_work(world: World) -> None:
    """Nothing of it is committed; who has the turn now answers it."""
    world.now.model.took_s = 30.0
    await world.say(1)
    await asyncio.sleep(1.0)
    old = world.now
    world.database.leases.clear()
    await world.boot()
    await world.settle()
    await asyncio.sleep(60.0)
    assert world.screen.texts(CHAT) == ["echo: hello"]
    assert (len(old.model.asked), len(world.now.model.asked)) == (1, 1)
    assert (old.agent.counters.get("model_answers"), world.now.agent.counters["model_answers"]) == (None, 1)


async def test_lost_answers_of_the_shard(world: World) -> None:
    """The transport loses every second answer: all is asked again, and nothing doubles."""
    lost: list[bytes] = []

    def every_second(frame: bytes) -> bool:
        lost.append(frame)
        return len(lost) % 2 == 1

    world.now.wire.lose = every_second
    for number, text in enumerate(("one|two", "three")):
        await world.say(number, text)
    await world.settle()
    assert world.screen.texts(CHAT) == ["echo: one", "two", "echo: three"]


# ---------------------------------------------------------------- stopping


async def test_stop_lets_a_running_turn_end(world: World) -> None:
    """Within the grace, the answer goes out before the connections close."""
    world.now.model.took_s = 10.0
    await world.say(1)
    await asyncio.sleep(1.0)
    await world.now.stop()
    assert world.screen.texts(CHAT) == ["echo: hello"]


async def test_stop_hands_back_what_takes_too_long(world: World) -> None:
    """D1: the next container goes on at once, without waiting for the lease to run out."""
    world.now.model.took_s = 40.0
    await world.say(1)
    await asyncio.sleep(1.0)
    await world.now.stop()
    assert world.screen.texts(CHAT) == []
    await asyncio.sleep(0.1)
    assert world.database.leases == {}
    await world.boot()
    await world.sweep()
    await world.idle()
    assert world.screen.texts(CHAT) == ["echo: hello"]


async def test_stop_records_a_message_that_gets_no_answer(world: World) -> None:
    """I2: a send that hangs meets its own deadline within the grace, and the turn ends with the reason."""
    world.screen.took_s = 15.0
    world.screen.outcomes[CHAT].append(MaybeSent("no answer"))
    await world.say(1)
    await asyncio.sleep(0.1)
    await world.now.stop()
    assert (world.state(1), world.turn(1).chunks[0].reason) == ("unknown", "no answer")


async def test_stop_waits_for_no_answer_for_ever(world: World) -> None:
    """I2: a send begun late in the grace that hangs is `unknown` by the end of it, not cut and left to others."""
    world.now.model.took_s = 8.0
    world.screen.took_s = 60.0
    await world.say(1)
    await asyncio.sleep(0.1)
    await world.now.stop()
    assert (world.state(1), world.turn(1).chunks[0].reason) == ("unknown", "no answer")


async def test_stop_begins_no_message_that_could_outlast_it(world: World) -> None:
    """I2: who comes next sends the rest of the reply; none of it was cut while being sent."""
    world.screen.took_s = 15.0
    await world.say(1, "one|two|three")
    await asyncio.sleep(0.1)
    await world.now.stop()
    assert world.screen.texts(CHAT) == ["echo: one"]
    assert [chunk.state for chunk in world.turn(1).chunks] == ["sent", "planned", "planned"]
    world.screen.took_s = 0.0
    await world.boot()
    await world.sweep()
    await world.idle()
    assert world.screen.texts(CHAT) == ["echo: one", "two", "three"]


async def test_an_owner_that_stops_is_no_attempt(world: World) -> None:
    """A turn that is longer than the grace lives through any number of rolling deploys."""
    world.now.model.took_s = 40.0
    await world.accept(1)
    for _ in range(MAX_ATTEMPTS + 1):
        first = world.now
        await world.sweep()
        await asyncio.sleep(1.0)
        await first.agent.stop()
        await first.agent_background.drain(5.0)
        agent = world.make()
        agent.model.took_s = 40.0
        world.agent_place.actor = agent.agent
    world.now.model.took_s = 0.0
    await world.settle()
    assert world.screen.texts(CHAT) == ["echo: hello"]


async def test_a_turn_claimed_while_stopping_is_handed_back(world: World) -> None:
    """Nothing is sent over closed connections."""
    await world.accept(1)
    world.now.store.latency_s = 1.0
    world.now.shard.sessions.unlearn(CHAT)
    taking = asyncio.create_task(world.agent.ask(TakeTurn(chat=CHAT)))
    await asyncio.sleep(0.5)
    await world.now.agent.stop()
    taken = await taking
    assert isinstance(taken, TurnsTaken)
    assert taken.stopped_by == "stopping"
    await world.now.agent_background.drain(5.0)
    assert (world.screen.tried[CHAT], world.database.leases) == (0, {})


async def test_stop_twice(world: World) -> None:
    """The second does nothing."""
    await world.now.stop()
    await world.now.stop()


# ---------------------------------------------------------------- commands, groups, callbacks


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


async def test_a_cold_registry_and_a_refused_token_leave_the_agent_degraded(world: World) -> None:
    """D2: it serves all the same, says what failed, and goes on trying what can come back."""
    fresh = world.make()
    fresh.telegram.refused = TokenRefused("401")
    world.registry.fault = Busy(detail="starting")
    await fresh.agent.start()
    assert fresh.agent.warmer.last is not None
    assert fresh.agent.warmer.last.status == "cold"
    assert fresh.agent.warmer.degraded != ""
    world.registry.fault, fresh.telegram.refused = None, None
    await asyncio.sleep(5.0)
    assert (fresh.agent.warmer.last.status, fresh.agent.warmer.degraded) == ("warm", "")


async def test_a_model_that_can_not_be_reached_leaves_the_agent_partly_warm(world: World) -> None:
    """The report says so in a line of its own, and the connection is opened when the model is back."""
    fresh = world.make()
    fresh.model.refused = ModelError("unreachable: no route", notice="n", retry=True)
    await fresh.agent.start()
    report = fresh.agent.warmer.last
    assert report is not None
    assert (report.status, report.loaded, report.errors) == ("partial", 2, ("model: unreachable: no route",))
    fresh.model.refused = None
    await asyncio.sleep(5.0)
    assert (getattr(fresh.agent.warmer.last, "status", ""), fresh.agent.warmer.degraded) == ("warm", "")


async def test_a_part_of_warming_that_fails_ends_no_other(world: World) -> None:
    """Without a catalog, Telegram and the model are connected all the same, and timed."""
    fresh = world.make()
    world.registry.fault = Busy(detail="starting")
    await fresh.agent.start()
    report = fresh.agent.warmer.last
    assert report is not None
    assert {"catalog", "telegram", "model"} == set(report.phases)
    assert report.errors == ("WarmFailed: catalog: starting",)


async def test_a_session_of_another_shard_is_not_touched(world: World) -> None:
    """A patch for one chat leaves the others as they are."""
    await world.ask(PatchSession(chat=CHAT + 1, patch=SessionPatch(mode="brief")))
    await replies(world, "hello")
    assert world.session(CHAT + 1).mode == "brief"
