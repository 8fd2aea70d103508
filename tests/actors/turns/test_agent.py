"""The agent: what it answers, the model's failures, heartbeats, lost leases, and a warming in parts."""

import asyncio

import pytest

from actors.agent_loop import NOTICE
from actors.answering import ANSWER_CHARACTERS, MODEL_BUDGET_S, REMEMBERED_CHARACTERS
from actors.chat_agent import ChatAgentOptions
from actors.coherence import SKILL_WAIT_S
from actors.commands import GAVE_UP
from actors.insist import PAUSES_S
from actors.ports import ModelError, TokenRefused
from app.settings import Scaling
from contracts.chat import TakeTurn, TurnsTaken
from contracts.faults import Busy, Internal
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import CHAT, World
from tests.actors.turns.steps import replies

OUTAGE: list[Mishap] = ["before"] * 40


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
    """A turn that raises every time is dead-lettered with a notice, and the chat's next message is answered."""
    world.now.model.script.extend(ValueError("defect") for _ in range(5))
    await world.accept(1, "poison")
    await world.accept(2, "fine")
    assert isinstance(await world.agent.ask(TakeTurn(chat=CHAT)), Internal)
    await world.settle()
    assert (world.state(1), world.screen.texts(CHAT)) == ("dead_lettered", [GAVE_UP, "echo: fine"])


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


# ---------------------------------------------------------------- warming


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
