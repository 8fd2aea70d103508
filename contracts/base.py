"""What every message is: a frozen Struct that names its own type on the wire."""

from typing import Final

import msgspec

PROTOCOL: Final = 1
"""Version of the protocol; an actor that cannot read a message answers with it."""


class Message(msgspec.Struct, frozen=True, tag_field="type"):
    """A value that crosses between actors as a msgpack map by field name, its tag under `type`.

    A reader ignores fields that it does not know, so a new field always has a default.
    """


class Value(msgspec.Struct, frozen=True):
    """A part of a message that never travels alone, so that it needs no tag."""
