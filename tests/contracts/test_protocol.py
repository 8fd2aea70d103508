"""The protocol over time: its schema is reviewed, and the frames of every release are still read."""

from pathlib import Path

import msgspec
import pytest

from contracts import schema
from contracts.codec import encode
from tests.contracts.golden import FOLDER
from tests.contracts.test_codec import DECODERS, PAIRS

RELEASES = sorted(FOLDER.glob("*.json"))


def test_the_schema_file_is_what_the_messages_say() -> None:
    """A changed message changes `schema.json`: run `python -m contracts.schema` and review the diff."""
    assert schema.generate() == schema.FILE.read_bytes()


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_the_frames_of_a_release_are_still_read(release: Path) -> None:
    """An old caller or actor goes on through a rolling deploy."""
    frames = {name: bytes.fromhex(each) for name, each in msgspec.json.decode(release.read_bytes()).items()}
    for union, message in PAIRS:
        frame = frames.get(type(message).__name__)
        if frame is not None:
            read = encode(DECODERS[union](frame))
            assert _holds(msgspec.msgpack.decode(read), msgspec.msgpack.decode(frame)), type(message).__name__


def test_there_is_a_release_to_read() -> None:
    """The golden files are found."""
    assert RELEASES


def _holds(new: object, old: object) -> bool:
    """Whether all that the old frame says stands in the new one, which may say more."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and _holds(new[name], value) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_holds, new, old))
    return old == new
