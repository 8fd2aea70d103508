"""Sending: each way a `sendMessage` can end, and what the chat sees and the store says after it."""

import asyncio

import msgspec
import pytest

from actors.ports import CallRefused, ChatGone, MaybeSent, NotSent, TelegramError, TextRefused, TokenRefused
from actors.stores import UpdateRecord
from actors.turns import unpack
from contracts.sessions import PatchSession, SessionPatch
from tests.actors.memory_store import Mishap
from tests.actors.turn_kit import BOT, CHAT, World

AWAY: list[Mishap] = ["before"] * 5


def _placed(world: World) -> list[tuple[str, int]]:
    """The messages, each with its topic."""
    return [(each.text, each.thread) for each in world.screen.shown]


def scripted(world: World, *outcomes: TelegramError | None, chat: int = CHAT) -> None:
    """How the chat's next sends go; None is one that succeeds."""
    world.screen.outcomes[chat].extend(outcome or "ok" for outcome in outcomes)


async def test_chunks_arrive_in_order(world: World) -> None:
    """All parts of a reply, once each."""
    await world.say(1, "one|two|three")
    await world.idle()
    assert world.screen.texts(CHAT) == ["echo: one", "two", "three"]
    assert world.state(1) == "answered"


@pytest.mark.parametrize("error", [NotSent("429", 3.0), NotSent("502"), NotSent("no connection")])
async def test_what_was_surely_not_sent_is_sent_again(world: World, error: NotSent) -> None:
    """B1, B2: after a short wait, and the chat sees it once."""
    scripted(world, error, error)
    await world.say(1, "one|two")
    await world.idle()
    assert world.screen.texts(CHAT) == ["echo: one", "two"]
    assert world.state(1) == "answered"


async def test_a_long_wait_holds_neither_the_agent_nor_other_chats(world: World) -> None:
    """B1: a 429 of 300 s is handed back, other chats are answered meanwhile, and the answer comes after it."""
    scripted(world, None, NotSent("429", 300.0))
    started = asyncio.get_running_loop().time()
    await world.say(1, "one|two")
    await world.say(2, "other", chat=CHAT + 1)
    await world.idle()
    assert asyncio.get_running_loop().time() - started < 1.0
    assert world.screen.texts(CHAT + 1) == ["echo: other"]
    await world.say(3, "later")
    await world.settle()
    waited = asyncio.get_running_loop().time() - started
    assert world.screen.texts(CHAT) == ["echo: one", "two", "echo: later"]
    assert 300.0 <= waited <= 310.0
    assert world.screen.tried[CHAT] == 4


async def test_a_telegram_that_is_down_costs_no_answer(world: World) -> None:
    """B2: however often the chunk is surely not sent, it is sent in the end, by later turns of the sweeper."""
    scripted(world, *[NotSent("502")] * 30)
    await world.say(1)
    await world.settle()
    assert world.screen.texts(CHAT) == ["echo: hello"]
    assert world.state(1) == "answered"


@pytest.mark.parametrize("visible", [True, False])
async def test_what_may_have_been_sent_is_never_sent_again(world: World, visible: bool) -> None:
    """B3: it is `unknown`, the rest of the reply is sent, and the turn says so in the end."""
    if visible:
        world.screen.lost.append(MaybeSent("timeout"))
    else:
        scripted(world, MaybeSent("timeout"))
    await world.say(1, "one|two")
    await world.settle()
    assert world.screen.texts(CHAT) == (["echo: one", "two"] if visible else ["two"])
    assert (world.state(1), world.database.updates[f"{BOT}:1"].reason) == ("unknown", "timeout")
    assert world.screen.tried[CHAT] == 2


async def test_an_error_of_no_known_kind_counts_as_unknown(world: World) -> None:
    """Nobody can tell whether it was sent."""
    scripted(world, TelegramError("strange"))
    await world.say(1)
    await world.settle()
    assert (world.state(1), world.screen.tried[CHAT]) == ("unknown", 1)


async def test_a_send_without_an_end_counts_as_unknown(world: World) -> None:
    """A client that does not keep its deadline holds no turn for ever."""
    world.screen.took_s = 10_000.0
    await world.say(1)
    await world.idle()
    assert world.state(1) == "unknown"


async def test_a_refused_text_is_sent_plain(world: World) -> None:
    """B4: without entities, once."""
    world.now.model.script.append("*bold")
    scripted(world, TextRefused("can't parse entities"))
    await world.say(1)
    await world.idle()
    assert [(each.text, each.entities) for each in world.screen.shown] == [("*bold", ())]
    assert world.state(1) == "answered"


async def test_a_text_refused_also_plain_ends_with_the_reason(world: World) -> None:
    """The turn is dead-lettered, and the next one goes on."""
    scripted(world, TextRefused("can't parse"), TextRefused("empty"))
    await world.say(1)
    await world.say(2, "next")
    await world.idle()
    assert (world.state(1), world.state(2)) == ("dead_lettered", "answered")
    assert world.database.updates[f"{BOT}:1"].reason == "TextRefused: empty"


async def test_a_chat_that_is_gone_is_marked_dead_and_not_tried_on(world: World) -> None:
    """B4: one refusal ends all chunks; a message from the chat shows that it lives."""
    scripted(world, ChatGone("blocked"))
    await world.say(1, "one|two|three")
    await world.idle()
    assert (world.state(1), world.session().dead, world.screen.tried[CHAT]) == ("dead_lettered", True, 1)
    await world.say(2, "back")
    await world.idle()
    assert (world.state(2), world.session().dead) == ("answered", False)


async def test_a_group_that_became_a_supergroup_is_answered_there(world: World) -> None:
    """A11: refused with the new id, so surely not sent, the reply goes to the supergroup at once."""
    scripted(world, ChatGone("upgraded", migrate_to=-1001), ChatGone("upgraded", migrate_to=-1001))
    await world.say(1, "one|two")
    await world.idle()
    assert (world.screen.texts(CHAT), world.screen.texts(-1001)) == ([], ["echo: one", "two"])
    assert (world.state(1), world.session().dead) == ("answered", False)


async def test_a_supergroup_that_is_gone_as_well_ends_the_turn(world: World) -> None:
    """B4: a chat is followed once, not round in a circle."""
    scripted(world, ChatGone("upgraded", migrate_to=CHAT), ChatGone("upgraded", migrate_to=CHAT))
    await world.say(1, "one|two")
    await world.idle()
    assert (world.state(1), world.session().dead, world.screen.tried[CHAT]) == ("dead_lettered", True, 2)


async def test_a_reply_goes_to_its_topic(world: World) -> None:
    """Typing and all parts, in pieces as well; what is said outside is answered there, in the same session."""
    world.screen.longest, world.now.model.took_s = 10, 2.0
    await world.say(1, "0123456789|two", thread=77)
    await world.say(2, "out")
    await world.idle()
    assert [("echo: 01", 77), ("23456789", 77), ("two", 77), ("echo: out", 0)] == _placed(world)
    assert {(CHAT, 77), (CHAT, 0)} == world.screen.typing_in
    assert 2 == world.session().turns


async def test_a_topic_that_is_gone_costs_no_answer(world: World) -> None:
    """Nothing was sent there, so the reply goes to the chat."""
    world.screen.gone_threads.add(77)
    await world.say(1, "one|two", thread=77)
    await world.idle()
    assert [("echo: one", 0), ("two", 0)] == _placed(world)
    assert "answered" == world.state(1)


async def test_a_group_that_is_followed_takes_no_topic_along(world: World) -> None:
    """A11: threads are those of one chat."""
    scripted(world, ChatGone("upgraded", migrate_to=-1001))
    await world.say(1, "one", thread=77)
    await world.idle()
    assert [("echo: one", 0)] == _placed(world)


async def test_the_rest_of_a_reply_goes_to_its_topic_after_its_owner_died(world: World) -> None:
    """B6: the next owner is told."""
    world.screen.took_s = 5.0
    await world.say(1, "one|two|three", thread=77)
    await asyncio.sleep(7.0)
    world.now.kill()
    world.screen.took_s = 0.0
    await world.boot()
    await world.settle()
    await asyncio.sleep(10.0)
    assert [("echo: one", 77), ("two", 77), ("three", 77)] == _placed(world)


def test_a_turn_that_an_older_version_stored_has_no_topic() -> None:
    """E1: what its bytes do not name is 0."""
    stored = {"incoming": {"kind": "message", "chat": CHAT, "text": "hi"}, "lease": "l"}
    body = msgspec.msgpack.encode(stored)
    record = UpdateRecord(bot=BOT, update=1, chat=CHAT, shard=0, state="accepted", open=True, body=body)
    assert (0, "hi") == (unpack(record).incoming.thread, unpack(record).incoming.text)


async def test_a_refused_call_ends_with_the_reason(world: World) -> None:
    """B4: any other refusal is final."""
    scripted(world, CallRefused("no rights"))
    await world.say(1)
    await world.idle()
    assert (world.state(1), world.session().dead) == ("dead_lettered", False)


async def test_a_refused_token_keeps_the_answer(world: World) -> None:
    """B4: an operator is needed; tried once a minute, the answer arrives when the token is right again."""
    scripted(world, TokenRefused("401"), TokenRefused("401"))
    await world.say(1)
    await world.settle()
    assert (world.screen.texts(CHAT), world.screen.tried[CHAT]) == (["echo: hello"], 3)


async def test_a_sent_chunk_is_recorded_although_the_store_is_away_for_a_while(world: World) -> None:
    """What was sent is known to the agent only: it insists, so that no sent message ends as unknown."""
    world.now.store.fail("write_turn", None, *AWAY)
    await world.say(1)
    await world.idle()
    assert (world.state(1), world.screen.texts(CHAT)) == ("answered", ["echo: hello"])


@pytest.mark.parametrize(
    ("away_at_s", "away_s"), [(0.7, 25.0), (2.05, 15.0)], ids=["at the refusal", "at the next try"]
)
async def test_what_was_surely_not_sent_is_no_unknown_although_the_store_is_away(
    world: World, away_at_s: float, away_s: float
) -> None:
    """Nobody died and the agent knows: it says so when it gives up, and the answer comes when the store is back."""
    world.screen.took_s = 0.5  # the second message is refused at 1 s, and tried again at 2 s
    scripted(world, None, NotSent("429", 1.0))
    world.now.store.fail("write_turn", None, None, None, "after")
    await world.say(1, "one|two|three")
    await asyncio.sleep(away_at_s)
    world.now.store.down = True
    await asyncio.sleep(away_s)
    world.now.store.down = False
    await world.settle()
    assert ["echo: one", "two", "three"] == world.screen.texts(CHAT)
    assert "answered" == world.state(1)


async def test_the_rest_of_a_reply_is_sent_after_its_owner_died(world: World) -> None:
    """B6: the chunk that was being sent is unknown, the others are sent."""
    world.screen.took_s = 5.0
    await world.say(1, "one|two|three")
    await asyncio.sleep(7.0)
    world.now.kill()
    world.screen.took_s = 0.0
    await world.boot()
    await world.settle()
    await asyncio.sleep(10.0)
    assert world.screen.texts(CHAT) == ["echo: one", "two", "three"]
    assert [chunk.state for chunk in world.turn(1).chunks] == ["sent", "unknown", "sent"]
    assert world.state(1) == "unknown"


async def test_buttons_stand_below_the_last_chunk(world: World) -> None:
    """`/mode` offers its choices once."""
    await world.ask(PatchSession(chat=CHAT, patch=SessionPatch(mode="brief")))
    await world.say(1, "/mode")
    await world.idle()
    assert [button.data for button in world.screen.shown[-1].buttons] == [
        "mode:brief",
        "mode:normal",
        "mode:detailed",
    ]
