"""What it costs to carry one message through Modal's serializer and back, in the forms that it could have."""

import timeit
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import process_time
from typing import Final, TypeVar

import msgspec
from modal._serialization import deserialize, serialize  # what the client does with arguments and results

from contracts.codec import encode, read_session_reply
from contracts.sessions import SessionReply, TurnClaimed
from contracts.turns import Incoming
from tests.bench.kit import Effort, Table, Values, rounds, rows
from tests.bench.sessions import session

T = TypeVar("T")

US: Final = "us both ways"
FRAME, STRUCT, PLAIN, CARRIED = "a frame, typed at both ends", "a Struct", "dicts", "a frame, not looked into"


def run(effort: Effort) -> Table:
    """Carry the claim of a turn, with its session of 20 messages, as bytes, as a Struct, as dicts."""
    claim: SessionReply = TurnClaimed(
        chat=1, bot=2, update=3, lease="l" * 32, incoming=Incoming(kind="message", chat=1), session=session(1)
    )
    plain, frame = msgspec.to_builtins(claim), encode(claim)
    number = effort.pick(300, 2_000)
    contenders = {
        STRUCT: partial(_cost, lambda: _carried(claim), claim, number),
        PLAIN: partial(_cost, lambda: _carried(plain), plain, number),
        FRAME: partial(_cost, lambda: read_session_reply(_carried(encode(claim))), claim, number),
        CARRIED: partial(_cost, lambda: _carried(frame), frame, number),
    }
    samples = rounds(contenders, effort.pick(3, 11), effort)
    found = Table(
        name="modal",
        title="One message both ways through Modal's serializer: the claim of a turn, with its 20 messages",
        ratio_of=US,
        rows=rows(samples, US, STRUCT),
        reading="",
    )
    saved = 1 / (found.row(FRAME).ratio or 1.0)
    reading = f"A Struct handed to the client costs {saved:.1f} times a frame with its encoding and checked decoding."
    return replace(found, reading=reading)


def _carried(value: T) -> T:
    back: T = deserialize(serialize(value), None)
    return back


def _cost(call: Callable[[], object], expected: object, number: int) -> Values:
    assert call() == expected, "a carrier that loses something is no contender"
    return {US: timeit.timeit(call, timer=process_time, number=number) / number * 1e6}
