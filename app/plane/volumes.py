"""Volumes: a folder each. A container finds it through its variables, since a process has no mounts of its own."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from app.plane.definition_check import check_environment
from app.plane.errors import existing, missing, unknown
from app.plane.ids import Ids


class Volumes:
    """Volumes by name and by id, below one folder."""

    def __init__(self, folder: Path, ids: Ids) -> None:
        self._folder, self._ids = folder, ids
        self._names: dict[str, str] = {}

    async def get_or_create(self, request: Any) -> Any:
        """VolumeGetOrCreate; whether one exists is asked of the disk, which outlives the plane."""
        check_environment(request)
        name = request.deployment_name
        if not re.fullmatch(r"[\w][\w.-]*", name):
            raise unknown(f"a volume without a name, or one called {name!r}")
        if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS and self._has(
            name
        ):
            raise existing(f"Volume '{name}'")
        volume_id = next((known for known, called in self._names.items() if called == name), "")
        if not volume_id:
            self._open(name, create=bool(request.object_creation_type))
            volume_id = self._ids.make("vo")
            self._names[volume_id] = name
        return api_pb2.VolumeGetOrCreateResponse(volume_id=volume_id, metadata=self.metadata(volume_id))

    async def reload(self, _: Any) -> Any:
        """VolumeReload: a folder is always as it is."""
        return Empty()

    async def commit(self, _: Any) -> Any:
        """VolumeCommit: the same."""
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    def metadata(self, volume_id: str) -> Any:
        """What handles know of it (api_pb2.VolumeMetadata)."""
        return api_pb2.VolumeMetadata(name=self._names.get(volume_id, ""))

    def path(self, volume_id: str) -> Path:
        """Its folder; raises NOT_FOUND."""
        if volume_id not in self._names:
            raise missing(f"no volume {volume_id}")
        return self._folder / self._names[volume_id]

    def moved(self, environ: Mapping[str, str], mounts: Iterable[Any]) -> dict[str, str]:
        """The variables, with every path at or below a mount's path (api_pb2.VolumeMount) led to its folder."""
        folders = {mount.mount_path.rstrip("/"): self.path(mount.volume_id) for mount in mounts}
        return {key: _moved(value, folders) for key, value in environ.items()}

    def _open(self, name: str, *, create: bool) -> None:
        if not create and not self._has(name):
            raise missing(f"Volume '{name}' not found")
        (self._folder / name).mkdir(parents=True, exist_ok=True)

    def _has(self, name: str) -> bool:
        return (self._folder / name).is_dir()


def _moved(value: str, folders: Mapping[str, Path]) -> str:
    for mounted, folder in folders.items():
        if value == mounted or value.startswith(f"{mounted}/"):
            return f"{folder}{value.removeprefix(mounted)}"
    return value
