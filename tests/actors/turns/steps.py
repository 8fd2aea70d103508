"""Steps of a turn that several tests take."""

from contracts.sessions import ClaimTurn, CommitTurn, LoadSession, SessionLoaded, TurnClaimed
from contracts.turns import ChatMessage, Chunk
from tests.actors.turn_kit import BOT, CHAT, World

SAID = (ChatMessage(role="user", text="hi"), ChatMessage(role="assistant", text="ho"))


async def claim(world: World, owner: str = "one") -> TurnClaimed:
    """Claim the chat's next turn, which is free."""
    claimed = await world.ask(ClaimTurn(chat=CHAT, owner=owner))
    assert isinstance(claimed, TurnClaimed)
    return claimed


def commit(claimed: TurnClaimed, *texts: str) -> CommitTurn:
    """Commit a claimed turn with these chunks."""
    chunks = tuple(Chunk(text=text) for text in texts)
    return CommitTurn(chat=CHAT, bot=claimed.bot, update=claimed.update, lease=claimed.lease, chunks=chunks)


async def claimed(world: World, update: int = 1) -> CommitTurn:
    """Accept and claim an update; gives the commit of a two-chunk reply for it."""
    await world.accept(update)
    turn = await world.ask(ClaimTurn(chat=CHAT, owner="one"))
    assert isinstance(turn, TurnClaimed)
    chunks = Chunk(text="one"), Chunk(text="two")
    return CommitTurn(chat=CHAT, bot=BOT, update=update, lease=turn.lease, append=SAID, chunks=chunks)


async def loaded(world: World, chat: int = CHAT) -> SessionLoaded:
    """What the shard serves of a chat's session."""
    reply = await world.ask(LoadSession(chat=chat))
    assert isinstance(reply, SessionLoaded)
    return reply


async def replies(world: World, *texts: str, **more: object) -> list[str]:
    """What the chat sees after these messages."""
    for number, text in enumerate(texts, start=len(world.database.updates)):
        await world.say(number, text, **more)  # type: ignore[arg-type]  # fields of Incoming
        await world.idle()
    return world.screen.texts(CHAT)
