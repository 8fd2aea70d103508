"""Writes `schema.json`, the protocol as JSON Schema: a diff of it is a protocol review.

Run `python -m contracts.schema` after a change of the messages; the tests compare.
"""

from pathlib import Path
from typing import Final, get_args

import msgspec

from contracts.base import PROTOCOL
from contracts.chat import ChatReply, ChatRequest
from contracts.sessions import SessionReply, SessionRequest
from contracts.skills import SkillReply, SkillRequest
from contracts.warming import ActorStats, Warm, WarmReport

FILE: Final = Path(__file__).with_name("schema.json")
UNIONS: Final = {
    "SkillRequest": SkillRequest,
    "SkillReply": SkillReply,
    "SessionRequest": SessionRequest,
    "SessionReply": SessionReply,
    "ChatRequest": ChatRequest,
    "ChatReply": ChatReply,
    "Warm": Warm,
    "WarmReport": WarmReport,
    "ActorStats": ActorStats,
}


def generate() -> bytes:
    """Give the schema: the version, the members of each union by name, and every Struct."""
    kinds = {kind.__name__: kind for union in UNIONS.values() for kind in members(union)}
    _, components = msgspec.json.schema_components(kinds.values())
    document = {
        "protocol": PROTOCOL,
        "unions": {name: [kind.__name__ for kind in members(union)] for name, union in UNIONS.items()},
        "messages": components,
    }
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"


def members(union: object) -> tuple[type, ...]:
    """Give the messages of a union; a union of one is its member."""
    return get_args(union) or (union,)


if __name__ == "__main__":
    FILE.write_bytes(generate())
