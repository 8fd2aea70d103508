"""Blob storage: what is too large for a message goes up and down over HTTP on loopback, as to Modal's buckets."""

import hashlib
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from modal_proto import api_pb2

from app.plane.errors import exhausted, missing
from app.plane.ids import Ids

PREFIX: Final = "/blobs/"
PIECE: Final = 1 << 20


class Blobs:
    """Files by id; the oldest go when there is too much."""

    def __init__(self, folder: Path, ids: Ids, most_bytes: int) -> None:
        self._folder, self._ids, self._most = folder, ids, most_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._kept: OrderedDict[str, int] = OrderedDict()
        self.url = ""
        """Set when the plane serves; the base of all blobs' addresses."""

    async def create(self, request: Any) -> Any:
        """BlobCreate: an address to put it to; multipart is for more than a gigabyte."""
        if request.content_length > self._most:
            raise exhausted(f"blobs than {self._most} bytes")
        blob_id = self._ids.make("bl")
        response = api_pb2.BlobCreateResponse(blob_ids=[blob_id])
        response.upload_urls.items.append(self._address(blob_id))
        return response

    async def get(self, request: Any) -> Any:
        """BlobGet: the address to get it from."""
        if request.blob_id not in self._kept:
            raise missing(f"no blob {request.blob_id}: it was not uploaded, or is not kept any more")
        return api_pb2.BlobGetResponse(download_url=self._address(request.blob_id))

    def read(self, blob_id: str) -> bytes:
        """Its content; raises NOT_FOUND."""
        if blob_id not in self._kept:
            raise missing(f"no blob {blob_id}")
        return self._path(blob_id).read_bytes()

    def routes(self) -> list[web.RouteDef]:
        """What serves them."""
        return [web.put(PREFIX + "{id}", self._put), web.get(PREFIX + "{id}", self._get)]

    async def _put(self, request: web.Request) -> web.Response:
        blob_id, size, digest = _id_of(request), 0, hashlib.md5(usedforsecurity=False)
        with self._path(blob_id).open("wb") as file:
            async for piece in request.content.iter_chunked(PIECE):
                size += len(piece)
                if size > self._most:
                    raise web.HTTPRequestEntityTooLarge(max_size=self._most, actual_size=size)
                digest.update(piece)
                file.write(piece)
        self._keep(blob_id, size)
        return web.Response(headers={"ETag": f'"{digest.hexdigest()}"'})  # the client compares it

    async def _get(self, request: web.Request) -> web.StreamResponse:
        blob_id = _id_of(request)
        if blob_id not in self._kept:
            raise web.HTTPNotFound(text=f"no blob {blob_id}")
        return web.FileResponse(self._path(blob_id))

    def _keep(self, blob_id: str, size: int) -> None:
        self._kept[blob_id] = size
        while sum(self._kept.values()) > self._most:
            oldest, _ = self._kept.popitem(last=False)
            self._path(oldest).unlink(missing_ok=True)

    def _address(self, blob_id: str) -> str:
        return f"{self.url}{PREFIX}{blob_id}"

    def _path(self, blob_id: str) -> Path:
        return self._folder / blob_id


def _id_of(request: web.Request) -> str:
    blob_id = request.match_info["id"]
    if not re.fullmatch(r"bl-\d+", blob_id):
        raise web.HTTPNotFound(text="no such blob")
    return blob_id
