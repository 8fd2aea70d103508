"""Steps of a turn that several tests take."""

from contracts.sessions import (
    ClaimTurn,
    CommitTurn,
    TurnClaimed,
)
from contracts.turns import Chunk
from tests.actors.turn_kit import CHAT, World


async def claim(world: World, owner: str = "one") -> TurnClaimed:
    """Claim the chat's next turn, which is free."""
    claimed = await world.ask(ClaimTurn(chat=CHAT, owner=owner))
    assert isinstance(claimed, TurnClaimed)
    return claimed


def commit(claimed: TurnClaimed, *texts: str) -> CommitTurn:
    """Commit a claimed turn with these chunks."""
    chunks = tuple(Chunk(text=text) for text in texts)
    return CommitTurn(chat=CHAT, bot=claimed.bot, update=claimed.update, lease=claimed.lease, chunks=chunks)
