"""Images: nothing is built, but their variables are set and the files that they copy are laid out."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
from modal_proto import api_pb2

from app.plane.ids import Ids

log = structlog.get_logger(__name__)

BUILDER: Final = "2025.06"  # the newest image builder that the client knows
HONOURED: Final = ("FROM", "ENV", "COPY")
SHOWN: Final = 60  # characters of a step that is left out


@dataclass(frozen=True, slots=True)
class Image:
    """What containers get of an image and those below it."""

    environ: tuple[tuple[str, str], ...] = ()
    mounts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


class Images:
    """Images by id, each with what it inherits."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._images: dict[str, Image] = {}
        self._known: dict[bytes, str] = {}

    def get(self, image_id: str) -> Image:
        """An image that is not known, such as an empty id, brings nothing."""
        return self._images.get(image_id, Image())

    async def create(self, request: Any) -> Any:
        """ImageGetOrCreate: done at once."""
        recipe = request.image.SerializeToString(deterministic=True)
        if recipe not in self._known:
            self._add(recipe, request.image)
        image_id = self._known[recipe]
        return api_pb2.ImageGetOrCreateResponse(
            image_id=image_id,
            metadata=api_pb2.ImageMetadata(image_builder_version=request.builder_version or BUILDER),
            result=api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS),
        )

    def _add(self, recipe: bytes, described: Any) -> None:
        self._known[recipe] = image_id = self._ids.make("im")
        self._images[image_id] = image = self._read(described)
        if image.left_out:
            log.info("image_steps_left_out", image=image_id, steps="; ".join(image.left_out))

    def _read(self, image: Any) -> Image:
        below = [self.get(base.image_id) for base in image.base_images]
        environ = [pair for base in below for pair in base.environ]
        environ += [pair for line in image.dockerfile_commands for pair in _variables(line)]
        mounts = [mount for base in below for mount in base.mounts]
        return Image(
            environ=tuple(environ),
            mounts=(*mounts, image.context_mount_id) if image.context_mount_id else tuple(mounts),
            left_out=tuple(_left_out(image.dockerfile_commands)),
        )


# ---------------------------------------------------------------- helpers


def _variables(line: str) -> Iterator[tuple[str, str]]:
    """`ENV KEY=value`, quoted as a shell would."""
    word, _, rest = line.strip().partition(" ")
    if word.upper() != "ENV":
        return
    for pair in shlex.split(rest):
        key, equals, value = pair.partition("=")
        if equals:
            yield key, value


def _left_out(lines: list[str]) -> Iterator[str]:
    for line in lines:
        word = line.strip().partition(" ")[0]
        if word and word.upper() not in HONOURED:
            yield line.strip()[:SHOWN]
