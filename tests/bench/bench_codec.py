"""What it costs to turn a session of 20 messages into bytes and back."""

import json
import pickle
import timeit
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import process_time
from typing import Any

import msgspec

from actors import session_codec
from contracts.turns import Session
from tests.bench.kit import Effort, Table, Values, rounds, rows
from tests.bench.sessions import session

Both = tuple[Callable[[Any], Any], Callable[[Any], Any]]
OURS = "msgspec msgpack, typed"
PLAIN = "json of dicts"


def run(effort: Effort) -> Table:
    """Measure each codec's way in and out."""
    typed = session(1)
    plain = json.loads(msgspec.json.encode(typed))
    json_codec = msgspec.json.Encoder().encode, msgspec.json.Decoder(Session).decode
    number = effort.pick(500, 3_000)
    contenders = {
        PLAIN: partial(_both_ways, (json.dumps, json.loads), plain, number),
        "pickle of dicts": partial(_both_ways, (pickle.dumps, pickle.loads), plain, number),
        "pickle of a Struct": partial(_both_ways, (pickle.dumps, pickle.loads), typed, number),
        "msgspec json, typed": partial(_both_ways, json_codec, typed, number),
        OURS: partial(_both_ways, (session_codec.pack, session_codec.unpack), typed, number),
    }
    samples = rounds(contenders, effort.pick(5, 15), effort)
    found = Table(
        name="codec",
        title="A session of 20 messages to bytes and back",
        ratio_of="us both ways",
        rows=rows(samples, "us both ways", PLAIN),
        reading="",
    )
    ours = found.row(OURS).values["us both ways"]
    reading = f"Reading and writing a session takes {ours:.0f} us, checked against its types on the way in."
    return replace(found, reading=reading)


def _both_ways(codec: Both, value: object, number: int) -> Values:
    to_bytes, from_bytes = codec
    data = to_bytes(value)
    assert from_bytes(data) == value, "a codec that loses something is no contender"
    encode_us = timeit.timeit(lambda: to_bytes(value), timer=process_time, number=number) / number * 1e6
    decode_us = timeit.timeit(lambda: from_bytes(data), timer=process_time, number=number) / number * 1e6
    return {
        "encode us": encode_us,
        "decode us": decode_us,
        "us both ways": encode_us + decode_us,
        "bytes": float(len(data)),
    }
