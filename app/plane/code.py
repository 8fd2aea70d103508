"""The uploaded code: files by their SHA-256, and folders of them by what is in them, which containers import from.

Nothing is imported from the developer's working tree, so two versions of an app run side by side.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final

import structlog
from modal_proto import api_pb2

from app.plane.errors import missing
from app.plane.ids import Ids

log = structlog.get_logger(__name__)

HOME: Final = "root"  # where Modal puts an app's modules, below the container's root
MADE_AT: Final = 1_700_000_000  # every file's time: bytecode stays valid for the same content


class Code:
    """Files and mounts, and the folders laid out from them."""

    def __init__(self, folder: Path, ids: Ids) -> None:
        self._files, self._trees = folder / "files", folder / "code"
        self._files.mkdir(parents=True, exist_ok=True)
        self._trees.mkdir(parents=True, exist_ok=True)
        self._ids = ids
        self._mounts: dict[str, dict[str, str]] = {}
        self._known: dict[str, str] = {}

    async def which_missing(self, request: Any) -> Any:
        """MountBatchedCheckExistence."""
        absent = [digest for digest in request.sha256_hex_hashes if not self._file(digest).exists()]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=absent)

    def put(self, digest: str, content: bytes) -> None:
        """Keep a file; raises ValueError when it is not what its digest says."""
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"the upload is not the file {digest}")
        path = self._file(digest)
        path.parent.mkdir(exist_ok=True)
        _write(path, content)

    def has(self, digest: str) -> bool:
        """Whether the file is kept."""
        return self._file(digest).exists()

    async def create_mount(self, request: Any) -> Any:
        """MountGetOrCreate: the client's own packages, asked for by name, are in the containers' interpreter."""
        files = {file.filename: file.sha256_hex for file in request.files}
        content = _digest(files)
        mount_id = self._known.get(content) or self._ids.make("mo")
        self._mounts[mount_id], self._known[content] = files, mount_id
        return api_pb2.MountGetOrCreateResponse(
            mount_id=mount_id,
            handle_metadata=api_pb2.MountHandleMetadata(content_checksum_sha256_hex=content),
        )

    def lay_out(self, mount_ids: Iterable[str]) -> Path:
        """The folder with the files of these mounts, later ones over earlier; made once for the same content."""
        files = self._files_of(mount_ids)
        tree = self._tree(files)
        if not tree.exists():
            self._make(tree, files)
        return tree

    def keep(self, trees: set[Path], deployed: Iterable[Iterable[str]]) -> None:
        """Remove every folder but these and those of the mounts that are deployed."""
        known = [[mount_id for mount_id in mount_ids if mount_id in self._mounts] for mount_ids in deployed]
        kept = trees | {self._tree(self._files_of(mount_ids)) for mount_ids in known}
        for tree in self._trees.iterdir():
            if tree not in kept:
                shutil.rmtree(tree, ignore_errors=True)  # what is left of it is found the next time
                log.info("code_removed", folder=tree.name)

    # ------------------------------------------------------------ helpers

    def _files_of(self, mount_ids: Iterable[str]) -> dict[str, str]:
        files: dict[str, str] = {}
        for mount_id in mount_ids:
            if mount_id not in self._mounts:
                raise missing(f"no mount {mount_id}")
            files |= self._mounts[mount_id]
        return files

    def _tree(self, files: dict[str, str]) -> Path:
        return self._trees / _digest(files)[:32]

    def _file(self, digest: str) -> Path:
        if not digest.isalnum():
            raise missing(f"no file {digest!r}")
        return self._files / digest[:2] / digest

    def _make(self, tree: Path, files: dict[str, str]) -> None:
        made = Path(tempfile.mkdtemp(dir=self._trees))
        (made / HOME).mkdir()
        for name, digest in files.items():
            target = made / _inside(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._file(digest), target)
            os.utime(target, (MADE_AT, MADE_AT))
        try:
            made.rename(tree)
        except OSError:  # the same was made meanwhile
            shutil.rmtree(made)


def _digest(files: dict[str, str]) -> str:
    listed = "\n".join(f"{name}\0{digest}" for name, digest in sorted(files.items()))
    return hashlib.sha256(listed.encode()).hexdigest()


def _inside(name: str) -> PurePosixPath:
    """A container's absolute path, relative to its root; raises NOT_FOUND for one that leaves it."""
    path = PurePosixPath(name.lstrip("/"))
    if ".." in path.parts or not path.parts:
        raise missing(f"no place for {name!r} in a container")
    return path


def _write(path: Path, content: bytes) -> None:
    part, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(part, "wb") as file:
        file.write(content)
    os.replace(name, path)
