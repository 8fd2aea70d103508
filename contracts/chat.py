"""What is said to and by a ChatAgent."""

from contracts.base import Message
from contracts.faults import AnyFault


class TakeTurn(Message, frozen=True, kw_only=True, tag="turn.take"):
    """Work the chat's mailbox until it is empty; the ids only say what caused the call."""

    chat: int
    bot: int = 0
    update: int = 0


class TurnsTaken(Message, frozen=True, kw_only=True, tag="turns.taken"):
    """How many turns this call ended, and what stopped it: `empty`, `held`, `lost`, `fault` or `stopping`."""

    chat: int
    turns: int = 0
    stopped_by: str = "empty"


ChatRequest = TakeTurn
ChatReply = TurnsTaken | AnyFault
