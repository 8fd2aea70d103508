"""The life of a turn: its states, the transitions allowed between them, and the states of its chunks.

accepted ──commit──▶ committed ──last chunk──▶ answered | unknown | dead_lettered
   │
   ├──commit without chunks──▶ answered | ignored | refused
   └──too many attempts──────▶ committed with a notice, and then, or if that fails as well, dead_lettered

planned ──▶ sending ──▶ sent | failed | unknown      (unknown: cut while sending; never sent again)
   ▲───────────┘  surely not sent, for UNSENT_MOST_S; then failed
               └──refused as too long──▶ in its place: sending, planned, planned (its pieces)
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from actors.stores import UpdateRecord
from contracts.base import Value
from contracts.turns import Chunk, ChunkState, Incoming, TurnState

TURN_STEPS: Final[Mapping[TurnState, frozenset[TurnState]]] = {
    "accepted": frozenset({"committed", "answered", "ignored", "refused", "dead_lettered"}),
    "committed": frozenset({"committed", "answered", "unknown", "dead_lettered"}),
}
CHUNK_STEPS: Final[Mapping[ChunkState, frozenset[ChunkState]]] = {
    "planned": frozenset({"sending"}),
    "sending": frozenset({"planned", "sent", "failed", "unknown"}),
}


class IllegalStep(Exception):
    """A turn or chunk was asked to take a step that its life does not have."""


class TurnRecord(Value, frozen=True, kw_only=True):
    """What `UpdateRecord.body` holds: the update, its reply, and the lease under which chunks are being sent.

    `unsent_since` (Unix seconds; 0: never) is when the chunk whose turn it is was surely not sent for the first time,
    `tried_late` whether that happened again when it was too long ago.
    `gave_up`: the chunks are a notice that there will be no answer.
    """

    incoming: Incoming
    chunks: tuple[Chunk, ...] = ()
    lease: str = ""
    raw: bytes = b""
    unsent_since: float = 0.0
    tried_late: bool = False
    gave_up: bool = False


UNSENT_MOST_S: Final = 86_400.0
"""How long a reply is tried that Telegram surely does not take: as long as Telegram keeps an update for us."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TurnRecord).decode


def pack(turn: TurnRecord) -> bytes:
    """Give the bytes that a store keeps."""
    return _encode(turn)


def unpack(record: UpdateRecord) -> TurnRecord:
    """Read a record's turn; raises msgspec.MsgspecError for bytes that are none."""
    return _decode(record.body)


def step(record: UpdateRecord, turn: TurnRecord, state: TurnState, reason: str = "") -> UpdateRecord:
    """Give the record in its next state; raises IllegalStep."""
    if state not in TURN_STEPS.get(record.state, frozenset()):
        raise IllegalStep(f"a turn can't go from {record.state} to {state}")
    return msgspec.structs.replace(
        record, state=state, open=state == "committed", reason=reason or record.reason, body=pack(turn)
    )


def with_chunk(
    turn: TurnRecord, index: int, state: ChunkState, *, message: int = 0, reason: str = ""
) -> TurnRecord:
    """Give the turn with one chunk in its next state; raises IllegalStep."""
    chunk = turn.chunks[index] if 0 <= index < len(turn.chunks) else None
    if chunk is None or state not in CHUNK_STEPS.get(chunk.state, frozenset()):
        raise IllegalStep(f"chunk {index} can't go to {state}")
    changed = msgspec.structs.replace(chunk, state=state, message=message, reason=reason)
    chunks = (*turn.chunks[:index], changed, *turn.chunks[index + 1 :])
    if state in ("planned", "sending"):
        return msgspec.structs.replace(turn, chunks=chunks)
    return msgspec.structs.replace(turn, chunks=chunks, unsent_since=0.0, tried_late=False)


def begin_next(turn: TurnRecord) -> tuple[TurnRecord, int]:
    """Mark the first planned chunk `sending`; gives its index, or -1 when none is planned."""
    for index, chunk in enumerate(turn.chunks):
        if chunk.state == "planned":
            return with_chunk(turn, index, "sending"), index
    return turn, -1


def in_pieces(turn: TurnRecord, index: int, pieces: tuple[Chunk, ...]) -> TurnRecord:
    """Put pieces in the place of a chunk that is too long, the first of them `sending`; raises IllegalStep."""
    chunk = turn.chunks[index] if 0 <= index < len(turn.chunks) else None
    if chunk is None or chunk.state != "sending":
        raise IllegalStep(f"chunk {index} is not being sent")
    if not _are_of(pieces, chunk):  # as those of an earlier cut, whose request comes late
        raise IllegalStep(f"these are no pieces of chunk {index}")
    chunks = (*turn.chunks[:index], *pieces, *turn.chunks[index + 1 :])
    cut = msgspec.structs.replace(turn, chunks=chunks, unsent_since=0.0, tried_late=False)
    return with_chunk(cut, index, "sending")


def _are_of(pieces: tuple[Chunk, ...], chunk: Chunk) -> bool:
    """Whether the pieces, all planned, stand in the chunk's text in this order, the first one shorter than it."""
    end = 0
    for piece in pieces:
        start = chunk.text.find(piece.text, end)
        if start < 0 or piece.state != "planned":
            return False
        end = start + len(piece.text)
    return bool(pieces) and len(pieces[0].text) < len(chunk.text)


def unsent(turn: TurnRecord) -> TurnRecord:
    """Mark a chunk that stands as `sending`, but was surely not sent, as planned again."""
    for index, chunk in enumerate(turn.chunks):
        if chunk.state == "sending":
            return with_chunk(turn, index, "planned")
    return turn


def put_off(turn: TurnRecord, now: float, most_s: float) -> TurnRecord:
    """Note that a chunk was tried and surely not sent, at `now` (Unix seconds), and whether that was after `most_s`."""
    if unsent_s(turn, now) >= most_s:
        return msgspec.structs.replace(turn, tried_late=True)
    return turn if turn.unsent_since else msgspec.structs.replace(turn, unsent_since=now)


def unsent_s(turn: TurnRecord, now: float) -> float:
    """How long the turn's chunks have surely not been sent; 0 if none ever failed so."""
    return max(0.0, now - turn.unsent_since) if turn.unsent_since else 0.0


def after_crash(turn: TurnRecord) -> TurnRecord:
    """Mark a chunk that its owner left `sending` as `unknown`: it may have been sent."""
    for index, chunk in enumerate(turn.chunks):
        if chunk.state == "sending":
            return with_chunk(turn, index, "unknown", reason="its owner stopped while sending")
    return turn


def outcome(turn: TurnRecord) -> tuple[TurnState, str]:
    """Say how a turn whose chunks are all through has ended, and why; no reason: that of the commit stands."""
    if turn.gave_up:
        return "dead_lettered", ""
    for chunk in turn.chunks:
        if chunk.state == "unknown":
            return "unknown", chunk.reason
    for chunk in turn.chunks:
        if chunk.state == "failed":
            return "dead_lettered", chunk.reason
    return "answered", ""
