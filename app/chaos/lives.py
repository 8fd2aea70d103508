"""What the ledger keeps of an update, and of each chunk of its reply."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Piece:
    """A planned chunk by the mark in its text: whose it is, how often Telegram showed it, how far its sender got."""

    update: str
    index: int
    visible: int = 0
    begun: bool = False
    doubtful: bool = False


@dataclass(slots=True)
class Life:
    """What the ledger keeps of an update."""

    chat: int
    state: str = ""
    reason: str = ""
    ended: bool = False
    marks: tuple[str, ...] = ()
    chunks: tuple[str, ...] = ()
    shown: list[int] = field(default_factory=list)
    committed_at: float = 0.0


def why_unknown(piece: Piece) -> str:
    """Say how far the sender of an unknown chunk had got."""
    if piece.doubtful:
        return "outcome not known"
    return "sent, not recorded" if piece.begun else "marked, not begun"
