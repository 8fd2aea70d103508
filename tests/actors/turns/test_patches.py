"""Changing a session beside its turns: patches, clearing, forgetting, adopting, and foreign fields."""

import msgspec
import pytest

from actors import session_codec
from contracts.sessions import (
    AdoptSession,
    ClearConversation,
    ForgetChat,
    PatchSession,
    SessionPatch,
    SessionSaved,
    TurnCommitted,
)
from contracts.turns import Session
from tests.actors.turn_kit import BOT, CHAT, World
from tests.actors.turns.steps import SAID, claimed, loaded


async def test_a_patch_on_a_cold_cache_keeps_all_else(world: World) -> None:
    """`/mode` after a restart changes the mode and nothing besides."""
    await world.ask(await claimed(world))
    before = world.session()
    await world.boot()
    world.now.shard.sessions.unlearn(CHAT)
    await world.ask(PatchSession(chat=CHAT, patch=SessionPatch(mode="brief")))
    assert world.session() == msgspec.structs.replace(before, mode="brief")


async def test_fields_of_a_newer_version_survive(world: World) -> None:
    """E2: a session written by a newer version keeps what this one does not know, through patch and commit."""
    newer = msgspec.msgpack.decode(session_codec.pack(Session(chat=CHAT, mode="brief"))) | {
        "mood": {"a": [1]}
    }
    await world.ask(PatchSession(chat=CHAT, patch=SessionPatch(mode="normal")))
    stored = world.database.sessions[CHAT]
    world.database.sessions[CHAT] = msgspec.structs.replace(stored, body=msgspec.msgpack.encode(newer))
    await world.boot()
    await world.ask(await claimed(world))
    await world.ask(PatchSession(chat=CHAT, patch=SessionPatch(last_skill="cook")))
    fields = msgspec.msgpack.decode(world.database.sessions[CHAT].body)
    assert (fields["mood"], fields["turns"], fields["last_skill"]) == ({"a": [1]}, 1, "cook")


async def test_clear_empties_the_conversation_only(world: World) -> None:
    """The settings stay."""
    await world.ask(await claimed(world))
    await world.ask(PatchSession(chat=CHAT, patch=SessionPatch(mode="brief")))
    await world.ask(ClearConversation(chat=CHAT))
    assert (world.session().messages, world.session().mode, world.session().turns) == ((), "brief", 1)


async def test_forget_erases(world: World) -> None:
    """The session becomes a tombstone, texts of ended updates go, ids and states stay, so that nothing runs twice."""
    await world.ask(msgspec.structs.replace(await claimed(world), chunks=()))
    await world.ask(ForgetChat(chat=CHAT))
    assert world.database.sessions[CHAT].body == b""
    assert (world.database.updates[f"{BOT}:1"].body, world.state(1)) == (b"", "answered")
    assert (await loaded(world)).session.turns == 0
    await world.boot()
    assert (await loaded(world)).session.messages == ()


async def test_forget_of_an_unknown_chat_writes_no_session(world: World) -> None:
    """There is nothing to erase, so no tombstone either."""
    assert await world.ask(ForgetChat(chat=CHAT)) == SessionSaved(version=0)
    assert world.database.sessions == {}


async def test_adopting_gives_an_absent_session_only(world: World) -> None:
    """A11: the supergroup has the group's session; one that it has already is not overwritten."""
    group = Session(chat=1, mode="brief", messages=SAID)
    await world.ask(AdoptSession(chat=CHAT, session=group))
    assert world.session() == msgspec.structs.replace(group, chat=CHAT)
    await world.ask(AdoptSession(chat=CHAT, session=msgspec.structs.replace(group, mode="detailed")))
    assert world.session().mode == "brief"


@pytest.mark.parametrize("age_s", [86_400.0, -600.0], ids=["a day old", "made by a clock that is ahead"])
async def test_who_wrote_before_the_session_followed_keeps_both(world: World, age_s: float) -> None:
    """A11, C10: a supergroup's first message may overtake its session; the group's history, then its own, once."""
    await world.ask(await claimed(world))  # the first turn in the supergroup
    own = world.session()
    made_at = own.created_at - age_s
    earlier = tuple(msgspec.structs.replace(each, text=f"{each.text} before") for each in SAID)
    group = Session(
        chat=1, mode="brief", turns=3, created_at=made_at, last_skill="budget-check", messages=earlier
    )
    await world.ask(AdoptSession(chat=CHAT, session=group))
    await world.ask(AdoptSession(chat=CHAT, session=group))
    followed = msgspec.structs.replace(group, chat=CHAT, user=own.user, turns=4, messages=(*earlier, *SAID))
    assert followed == world.session()


async def test_adopting_beside_another_writer_overwrites_nothing(world: World) -> None:
    """A shard that believes the session absent finds out by the version."""
    await loaded(world)
    old = world.now
    await world.boot()
    await world.ask(PatchSession(chat=CHAT, patch=SessionPatch(mode="brief")))
    world.shard_place.actor = old.shard
    await world.ask(AdoptSession(chat=CHAT, session=Session(chat=1, mode="detailed")))
    assert world.session().mode == "brief"


async def test_an_unreadable_session_is_set_aside_and_begun_anew(world: World) -> None:
    """C8: the chat goes on, and the document is replaced at its version."""
    await world.ask(PatchSession(chat=CHAT, patch=SessionPatch(mode="brief")))
    world.database.sessions[CHAT] = msgspec.structs.replace(world.database.sessions[CHAT], body=b"\xc1")
    await world.boot()
    assert isinstance(await world.ask(await claimed(world)), TurnCommitted)
    assert (world.session().mode, world.session().messages) == ("normal", SAID)
    assert world.counted()["sessions_set_aside"] > 0
