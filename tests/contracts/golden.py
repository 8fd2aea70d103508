"""Writes the golden bytes of this release's messages, once, when the release is made.

Run `python -m tests.contracts.golden VERSION`; a file that is there is never written again.
"""

import sys
from pathlib import Path

import msgspec

from contracts.codec import encode
from tests.contracts.examples import EXAMPLES

FOLDER = Path(__file__).parent / "golden"


def write(version: str) -> None:
    """Write `golden/VERSION.json`: the frame of each example, in hexadecimal, by the message's name."""
    frames = {type(message).__name__: encode(message).hex() for message in EXAMPLES}
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{version}.json").open("xb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(frames), indent=1) + b"\n")


if __name__ == "__main__":
    write(sys.argv[1])
