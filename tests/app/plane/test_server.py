"""`@app.server` behind the plane's proxy: readiness, several containers of one port, and graceful ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import modal
import pytest
import pytest_asyncio

from tests.app.plane.kit import Deployed, running, until
from tests.app.plane.toys import SERVER

pytestmark = [pytest.mark.modal, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployed]:
    """One plane with the server, which has no containers until somebody asks."""
    home = tmp_path_factory.mktemp("server")
    (home / "notes").touch()
    async with running(home) as deployed:
        await deployed.deploy(SERVER, NOTES=str(home / "notes"))
        yield deployed


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody who asks."""
    async with aiohttp.ClientSession() as session:
        yield session


async def get(front: Deployed, http: aiohttp.ClientSession, path: str = "/") -> tuple[int, Any]:
    """Ask, and give the status with the document or the text."""
    async with http.get(front.plane.address("Front") + path) as answer:
        return answer.status, await (answer.json() if answer.status == 200 else answer.text())


def ready(front: Deployed) -> int:
    """How many containers take requests."""
    return [container.state for container in front.plane.containers("Front")].count("ready")


async def keep(front: Deployed, count: int) -> None:
    """Have so many containers ready, whichever test ran before."""
    server: Any = modal.Server.from_name("toy", "Front", client=front.client)
    await server.autoscaler.update.aio(min_containers=count)
    await until(lambda: ready(front) == count)


async def test_without_a_container_it_answers_503_and_starts_one(
    front: Deployed, http: aiohttp.ClientSession
) -> None:
    """Nothing is queued: whoever asks too early is told to come again."""
    assert (503, "no container of Front is ready\n") == await get(front, http)
    await until(lambda: ready(front) == 1)
    async with http.post(front.plane.address("Front") + "/a/b?c=%20d", data=b"body") as answer:
        document = await answer.json()
    assert ("POST", "/a/b?c=%20d", "body") == (document["method"], document["path"], document["body"])


async def test_a_container_sees_the_headers_that_were_sent_and_no_others(
    front: Deployed, http: aiohttp.ClientSession
) -> None:
    """One that comes twice comes twice, and an answer is not compressed for somebody who did not ask for that."""
    await keep(front, 1)
    sent = [("X-Twice", "1"), ("X-Twice", "2")]
    unsent = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
    async with http.post(
        front.plane.address("Front"), data=b"body", headers=sent, skip_auto_headers=unsent
    ) as answer:
        seen = (await answer.json())["headers"]
    host = front.plane.address("Front").removeprefix("http://")
    ours = [["Host", host], ["X-Forwarded-For", "127.0.0.1"], ["Content-Length", "4"]]
    assert sorted([*ours, *map(list, sent)]) == sorted(seen)


async def test_its_address_is_what_the_client_says(front: Deployed) -> None:
    """`Server.get_url()` gives it."""
    server: Any = modal.Server.from_name("toy", "Front", client=front.client)
    assert front.plane.address("Front") == await server.get_url.aio()


async def test_apps_with_a_server_of_one_name_have_an_address_each(
    front: Deployed, http: aiohttp.ClientSession
) -> None:
    """Another app does not take the requests of the first; a server that it has no more is not started again."""
    first = front.plane.address("Front")
    await front.deploy(SERVER.replace('App("toy")', 'App("other")'), name="other")
    other: Any = modal.Server.from_name("other", "Front", client=front.client)
    address = await other.get_url.aio()
    assert first != address
    await front.deploy('import modal\napp = modal.App("other")', name="other")
    before = len(front.plane.containers("Front"))
    async with http.get(address) as answer:
        assert 503 == answer.status
    assert before == len(front.plane.containers("Front"))
    assert first == front.plane.address("Front")


async def test_several_containers_of_one_port_share_the_requests(
    front: Deployed, http: aiohttp.ClientSession
) -> None:
    """Each binds the port that the code names, and gets one of its own, on loopback."""
    await keep(front, 3)
    answers = await asyncio.gather(*(get(front, http, "/?seconds=0.2") for _ in range(6)))
    assert [200] * 6 == [status for status, _ in answers]
    assert 3 == len({document["pid"] for _, document in answers})
    assert 3 == len({container.port for container in front.plane.containers("Front")} - {8123})


async def test_a_request_in_flight_ends_well_when_its_container_does(
    front: Deployed, http: aiohttp.ClientSession
) -> None:
    """SIGTERM lets it finish, and new requests go elsewhere meanwhile."""
    await keep(front, 3)
    slow = asyncio.create_task(get(front, http, "/?seconds=1"))
    await until(lambda: any(container.running for container in front.plane.containers("Front")))
    (busy,) = [container for container in front.plane.containers("Front") if container.running]
    front.plane.faults.preempt(busy.id)
    _, other = await get(front, http)
    status, document = await slow
    assert (200, busy.pid) == (status, document["pid"])
    assert other["pid"] != busy.pid
    await until(lambda: "closed" in (front.home / "notes").read_text())


async def test_a_killed_container_costs_the_requests_in_it_and_no_others(
    front: Deployed, http: aiohttp.ClientSession
) -> None:
    """There are no retries: what it held is answered 502, and a new one takes its place."""
    await keep(front, 3)
    slow = asyncio.create_task(get(front, http, "/?seconds=20"))
    await until(lambda: any(container.running for container in front.plane.containers("Front")))
    (busy,) = [container for container in front.plane.containers("Front") if container.running]
    front.plane.faults.kill(busy.id)
    assert 502 == (await slow)[0]
    assert 200 == (await get(front, http))[0]
    await until(lambda: ready(front) == 3)
