"""Where a command works, as it was told or as it finds it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.settings import Settings
from app.targets.note import NAME, write_note
from app.targets.place import Kind, NoPlace, Wish, find_place
from tests.app.targets.test_note import gone_pid, note

NOWHERE = Settings(port=1, shards=3)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[str]:
    """A plane that this folder's note names, as far as it is looked for: something that listens."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        write_note(note(url), tmp_path)
        yield url


@pytest.fixture
async def service() -> AsyncIterator[Settings]:
    """The settings with which a service is found: it says that it lives."""

    async def live(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/livez", live)
    async with TestServer(app) as server:
        assert server.port is not None
        yield Settings(port=server.port)


async def test_what_was_said_wins(plane: str, service: Settings, tmp_path: Path) -> None:
    """An address or a kind is not questioned."""
    said = [Wish(url="http://there/"), Wish(target="local"), Wish(target="plane"), Wish(target="modal")]
    places = [await find_place(service, wish, tmp_path) for wish in said]
    assert ["local", "local", "plane", "modal"] == [place.kind for place in places]
    assert "http://there" == places[0].url


async def test_a_living_plane_of_the_folder_comes_first(
    plane: str, service: Settings, tmp_path: Path
) -> None:
    """Its note also says how many shards were deployed, whatever this shell's settings say."""
    place = await find_place(service, Wish(), tmp_path)
    assert ("plane", 2, "app") == (place.kind, place.shards, place.app_name)
    assert f"the plane at {plane}" == str(place)


@pytest.mark.parametrize("noted", [True, False])
async def test_then_a_service_that_answers(service: Settings, tmp_path: Path, noted: bool) -> None:
    """A stale note is passed over."""
    if noted:
        write_note(note(pid=gone_pid()), tmp_path)
    account = msgspec.structs.replace(service, modal_account=True)
    place = await find_place(account, Wish(), tmp_path)
    assert ("local", f"http://127.0.0.1:{service.port}") == (place.kind, place.url)


async def test_then_an_account(tmp_path: Path) -> None:
    """Last, because to ask it costs."""
    place = await find_place(msgspec.structs.replace(NOWHERE, modal_account=True), Wish(), tmp_path)
    assert ("modal", 3) == (place.kind, place.shards)


async def test_nothing_found_says_what_was_looked_for(tmp_path: Path) -> None:
    """In one line."""
    write_note(note(pid=gone_pid()), tmp_path)
    with pytest.raises(NoPlace) as nothing:
        await find_place(NOWHERE, Wish(), tmp_path)
    told = str(nothing.value)
    assert 1 == len(told.splitlines())
    looked_for = ("plane.json is gone", "no service at http://127.0.0.1:1", "no Modal account")
    assert looked_for == tuple(each for each in looked_for if each in told)


async def test_a_plane_that_is_wanted_and_gone_is_said(tmp_path: Path) -> None:
    """With what begins one."""
    with pytest.raises(NoPlace, match=r"plane\.json is missing.*firstlight up"):
        await find_place(NOWHERE, Wish(target="plane"), tmp_path)


@pytest.mark.parametrize("target", [None, "plane"])
async def test_a_note_without_sense_stops_the_search(tmp_path: Path, target: Kind | None) -> None:
    """Rather than asking something else instead."""
    (tmp_path / NAME).write_bytes(b"{")
    with pytest.raises(NoPlace, match="can't be read"):
        await find_place(NOWHERE, Wish(target=target), tmp_path)
