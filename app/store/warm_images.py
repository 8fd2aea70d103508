"""What every store asks of a warm image before it writes it, and how it names that write."""

import re
from hashlib import blake2b
from typing import Any, Final

import structlog

from actors.stores import StoreDenied
from actors.warm_ports import BLOB_MOST, BLOBS_MOST, StoredImage

_NAME: Final = re.compile(r"[A-Za-z_]\w{0,99}:\d{1,9}", re.ASCII)

_log: Final[Any] = structlog.get_logger(__name__)


def check_image(name: str, image: StoredImage) -> None:
    """Raise StoreDenied, in one line, for an image that the store would not take whole."""
    if _NAME.fullmatch(name) is None:
        raise StoreDenied(f"a warm image is named ACTOR:SHARD, not {name[:100]!r}")
    if len(image.blobs) > BLOBS_MOST:
        raise StoreDenied(f"warm image {name}: {len(image.blobs)} blobs, and {BLOBS_MOST} are the most")
    largest = max(map(len, (image.manifest, *image.blobs)))
    if largest > BLOB_MOST:
        raise StoreDenied(f"warm image {name}: {largest} bytes in one part, and {BLOB_MOST} are the most")


def operation_of(image: StoredImage) -> str:
    """Name the write of this image over this version: written again, it is known again.

    Hashes up to 10 MB, some 15 ms: call it off the event loop.
    """
    name = blake2b(str(image.version).encode(), digest_size=16)
    for part in (image.manifest, *image.blobs):
        name.update(len(part).to_bytes(8, "big"))
        name.update(part)
    return name.hexdigest()


def count_of(stored: object) -> int:
    """How many blobs an image has; the most that there can be, where that was spoilt: the manifest knows."""
    return stored if isinstance(stored, int) and 0 <= stored <= BLOBS_MOST else BLOBS_MOST


def set_aside(name: str, reason: str) -> None:
    """Say that an image, or a part of it, can't be used."""
    _log.warning("warm_image_set_aside", image=name, reason=reason)
