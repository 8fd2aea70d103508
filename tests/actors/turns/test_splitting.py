"""A text that Telegram calls too long: cut into pieces, each a chunk of its own, and none lost or doubled."""

import asyncio

import pytest

from actors.ports import NotSent
from contracts.faults import BadRequest
from contracts.sessions import SplitChunk
from contracts.turns import Chunk
from tests.actors.turn_kit import BOT, CHAT, World
from tests.actors.turns.test_deliveries import scripted


def _cut_anew(texts: list[str]) -> list[str]:
    """The whole text in pieces of five, so that only its order counts, and what follows it."""
    whole = "".join(texts[:-1])
    return [whole[at : at + 5] for at in range(0, len(whole), 5)] + texts[-1:]


async def test_a_text_that_is_too_long_is_split_until_it_is_taken(world: World) -> None:
    """B4: all of it arrives in order, each piece once and recorded as sent."""
    world.screen.longest = 5
    await world.say(1, "0123456789ABCDE|two")
    await world.idle()
    assert ["echo:", " 0123", "45678", "9ABCD", "E", "two"] == _cut_anew(world.screen.texts(CHAT))
    assert {"sent"} == {chunk.state for chunk in world.turn(1).chunks}
    assert world.screen.texts(CHAT) == [chunk.text for chunk in world.turn(1).chunks]
    assert world.state(1) == "answered"


async def test_the_splitting_ends(world: World) -> None:
    """B4: what is refused in the smallest pieces ends the turn, with the reason, and the next one goes on."""
    world.screen.longest = 1
    await world.say(1, "0123456789")
    await world.idle()
    assert (world.state(1), world.screen.texts(CHAT)) == ("dead_lettered", [])
    assert "TextTooLong: message is too long" == world.database.updates[f"{BOT}:1"].reason
    assert world.screen.tried[CHAT] <= 2 * len("echo: 0123456789")


async def test_a_piece_that_was_surely_not_sent_is_sent_again_alone(world: World) -> None:
    """B1, I2: the pieces before it stand already."""
    world.screen.longest = 10
    scripted(world, None, NotSent("429", 3.0), NotSent("429", 300.0))
    await world.say(1, "0123456789")
    await world.settle()
    assert ["echo: 01", "23456789"] == world.screen.texts(CHAT)
    assert world.state(1) == "answered"


async def test_pieces_go_on_after_their_owner_died(world: World) -> None:
    """I2, B6: the piece that was being sent is unknown, those before it are not sent again, the others are."""
    world.screen.longest, world.screen.took_s = 5, 5.0
    await world.say(1, "0123456789")
    await asyncio.sleep(17.0)  # refused at 5 and 10 s, the first piece is shown at 15
    world.now.kill()
    world.screen.took_s = 0.0
    await world.boot()
    await world.settle()
    await asyncio.sleep(10.0)
    assert ["echo", ": 01", "2345", "6789"] == world.screen.texts(CHAT)
    assert ["sent", "unknown", "sent", "sent"] == [chunk.state for chunk in world.turn(1).chunks]


async def test_a_split_whose_answer_was_lost_is_made_once(world: World) -> None:
    """C9: what the store took is found again, at once, and not split anew."""
    world.screen.longest = 10
    world.now.store.fail("write_turn", None, "after")
    await world.say(1, "0123456789")
    await world.idle()
    assert ["echo: 01", "23456789"] == world.screen.texts(CHAT)
    assert world.state(1) == "answered"


@pytest.mark.parametrize(
    ("index", "pieces"),
    [
        (0, ()),
        (0, (Chunk(text="echo: "), Chunk(text="two"))),
        (0, (Chunk(text="one"), Chunk(text="echo"))),
        (0, (Chunk(text="echo: ", state="sent"), Chunk(text="one"))),
        (1, (Chunk(text="t"), Chunk(text="wo"))),
        (2, (Chunk(text="t"), Chunk(text="wo"))),
        (-1, (Chunk(text="t"), Chunk(text="wo"))),
    ],
    ids=["none", "of another", "in another order", "sent", "not being sent", "beyond", "before"],
)
async def test_only_what_is_being_sent_is_split_and_into_its_own_pieces(
    world: World, index: int, pieces: tuple[Chunk, ...]
) -> None:
    """A request that is wrong or comes late leaves the reply as it is."""
    world.screen.took_s = 5.0
    await world.say(1, "one|two")
    await asyncio.sleep(2.0)
    before = world.turn(1)
    split = SplitChunk(chat=CHAT, bot=BOT, update=1, lease=before.lease, index=index, pieces=pieces)
    assert isinstance(await world.ask(split), BadRequest)
    assert before == world.turn(1)


async def test_what_can_not_be_split_because_the_store_is_away_is_no_unknown(world: World) -> None:
    """Nothing of it was sent, and the agent says so when it gives up."""
    world.screen.longest, world.screen.took_s = 10, 0.5
    await world.say(1, "0123456789")
    await asyncio.sleep(0.2)
    world.now.store.down = True
    await asyncio.sleep(25.0)
    world.now.store.down = False
    await world.settle()
    assert ["echo: 01", "23456789"] == world.screen.texts(CHAT)
    assert world.state(1) == "answered"


async def test_an_older_shard_that_splits_nothing_has_the_reply_wait(world: World) -> None:
    """E1: a rolling deploy ends, and the whole text arrives then."""
    world.screen.longest = 10
    world.now.wire.older = lambda frame: b"chunk.split" in frame
    await world.say(1, "0123456789")
    await asyncio.sleep(30.0)
    assert (world.state(1), world.screen.texts(CHAT)) == ("committed", [])
    world.now.wire.older = lambda _: False
    await world.settle()
    assert (world.state(1), world.screen.texts(CHAT)) == ("answered", ["echo: 01", "23456789"])


async def test_a_split_that_only_the_newer_of_two_shards_knows_loses_nothing(world: World) -> None:
    """E1, C9: the newer one made it and its answer was lost; the older one, asked again, is no proof against it."""
    world.screen.longest = 10
    asked: list[bytes] = []

    def older(frame: bytes) -> bool:
        asked.extend([frame] if b"chunk.split" in frame else [])
        return b"chunk.split" in frame and len(asked) == 2

    world.now.wire.lose = lambda frame: b"chunk.split" in frame and len(asked) == 1
    world.now.wire.older = older
    await world.say(1, "0123456789|two")
    await world.settle()
    assert ["echo: 01", "23456789", "two"] == world.screen.texts(CHAT)
    assert world.state(1) == "answered"
