"""The console's routes: what the page is told, what it may do, and who is kept out."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from yarl import URL

from app.web.console import MAX_STREAMS, STATIC
from tests.app.web.console_bench import STATS, Bench, serving
from tests.waiting import until

ROUTES = [("GET", "/"), ("GET", "/console/bootstrap"), ("GET", "/console/events"), ("GET", "/console/stats")]
ACTIONS = ["/console/say", "/console/press", "/console/chats", "/console/restart"]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A console that runs."""
    async with serving(Bench()) as running:
        yield running


@pytest.fixture
async def http(bench: Bench) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of it that says nothing of its origin."""
    async with aiohttp.ClientSession(bench.url, timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


async def _post(http: aiohttp.ClientSession, bench: Bench, path: str, body: Any) -> tuple[int, Any]:
    async with http.post(path, json=body, headers={"Origin": bench.url}) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if answer.content_type == "application/json" else text


async def _event(stream: aiohttp.ClientResponse) -> tuple[str, Any]:
    """The next server-sent event, as name and data."""
    name = ""
    while line := (await stream.content.readline()).decode().rstrip("\n"):
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        if line.startswith("data: "):
            data = json.loads(line.removeprefix("data: "))
    return name, data


async def test_the_page_runs_no_script_but_its_own(bench: Bench, http: aiohttp.ClientSession) -> None:
    """The policy allows scripts and styles from here only, and the page needs nothing else."""
    async with http.get("/") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.count("<script") == page.count('<script type="module" src="/console/static/') == 1
    assert "style=" not in page


@pytest.mark.parametrize("name", sorted(STATIC))
async def test_static_files_are_served(http: aiohttp.ClientSession, name: str) -> None:
    """Every file that the page asks for is there, under its own type."""
    async with http.get(f"/console/static/{name}") as answer:
        assert (answer.status, answer.content_type) == (200, STATIC[name])
        assert "innerHTML" not in await answer.text()


@pytest.mark.parametrize("name", ["secrets.txt", "..%2fconsole.py", "%2e%2e/console.py", "console.html/x"])
async def test_nothing_else_is_served(bench: Bench, http: aiohttp.ClientSession, name: str) -> None:
    """The static route leads to the page's files and nowhere else."""
    async with http.get(URL(f"{bench.url}/console/static/{name}", encoded=True)) as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "[::2]"]
)
@pytest.mark.parametrize(("verb", "path"), [*ROUTES, *(("POST", each) for each in ACTIONS)])
async def test_other_host_names_are_refused(
    bench: Bench, http: aiohttp.ClientSession, host: str, verb: str, path: str
) -> None:
    """A page elsewhere whose name was pointed here (DNS rebinding) gets 403 from every route."""
    headers = {"Host": host, "Origin": f"http://{host}"}
    async with http.request(verb, path, headers=headers, json={}) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8080"])
async def test_loopback_names_are_served(http: aiohttp.ClientSession, host: str) -> None:
    """Every name of this machine's loopback opens the page."""
    async with http.get("/", headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "https://127.0.0.1", "http://127.0.0.1:1"]
)
@pytest.mark.parametrize("path", ACTIONS)
async def test_requests_of_other_pages_are_refused(
    bench: Bench, http: aiohttp.ClientSession, path: str, origin: str | None
) -> None:
    """Only the console's own page may act: any other origin, or none, is 403 and does nothing."""
    headers = {"Origin": origin} if origin else {}
    async with http.post(path, json={"type": "private"}, headers=headers) as answer:
        assert answer.status == 403
    assert (bench.restarts, dict(bench.telegram.world.chats)) == (0, {})


@pytest.mark.parametrize("path", ACTIONS)
async def test_forms_are_refused(bench: Bench, http: aiohttp.ClientSession, path: str) -> None:
    """What a plain HTML form can send is not taken."""
    async with http.post(path, data={"type": "private"}, headers={"Origin": bench.url}) as answer:
        assert answer.status == 415


async def test_a_conversation_reaches_the_page(bench: Bench, http: aiohttp.ClientSession) -> None:
    """The stream begins with all chats, then tells of the message, the reply and the button's answer in order."""
    _, opened = await _post(http, bench, "/console/chats", {})
    chat = opened["chat"]
    async with http.get("/console/events") as stream:
        name, data = await _event(stream)
        assert (name, [each["chat"] for each in data["chats"]]) == ("hello", [chat])
        assert (await _post(http, bench, "/console/say", {"chat": chat, "text": " hi "}))[0] == 200
        name, said = await _event(stream)
        assert (name, said["message"]["text"], said["message"]["user"]) == ("message", "hi", chat)
        name, reply = await _event(stream)
        assert (name, reply["message"]["user"]) == ("message", 0)
        pressed = {"chat": chat, "message_id": reply["message"]["message_id"], "text": "More", "data": "more"}
        await _post(http, bench, "/console/press", pressed)
        assert (await _event(stream))[0] == "toast"
        assert (await _event(stream))[1]["message"]["text"] == "pressed more"
    async with http.get("/console/events") as stream:
        _, data = await _event(stream)
        assert [each["user"] for each in data["chats"][0]["messages"]] == [chat, 0, 0]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/console/say", {"chat": 404, "text": "hi"}, 404),
        ("/console/say", {"chat": 1001, "text": ""}, 400),
        ("/console/say", {"chat": 1001, "text": "🌅" * 2049}, 400),
        ("/console/say", {"chat": "1001", "text": "hi"}, 400),
        ("/console/say", {"chat": 1001, "text": "hi", "user": 5}, 400),
        ("/console/say", [], 400),
        ("/console/say", {"chat": 1001, "text": "a" * 70_000}, 413),
        ("/console/press", {"chat": 1001, "message_id": 99, "text": "More", "data": "more"}, 404),
        ("/console/chats", {"type": "channel"}, 400),
    ],
)
async def test_bad_requests_are_refused(
    bench: Bench, http: aiohttp.ClientSession, path: str, body: Any, status: int
) -> None:
    """What the page would not send is refused, never a 500."""
    bench.telegram.open_chat(chat=1001)
    assert (await _post(http, bench, path, body))[0] == status
    assert bench.telegram.transcript(1001) == []


async def test_the_restart_is_offered_only_where_there_is_one() -> None:
    """The bootstrap says whether a cold restart is possible; without one the route is 404."""
    for can_restart, status in ((True, 200), (False, 404)):
        async with serving(Bench(can_restart=can_restart)) as bench, aiohttp.ClientSession(bench.url) as http:
            async with http.get("/console/bootstrap") as answer:
                assert (await answer.json())["can_restart"] is can_restart
            assert (await _post(http, bench, "/console/restart", {}))[0] == status
            assert bench.restarts == int(can_restart)


async def test_one_restart_at_a_time(bench: Bench, http: aiohttp.ClientSession) -> None:
    """While a restart is under way a second one is 409 and does nothing; afterwards it is possible again."""
    bench.restart_may_end.clear()
    first = asyncio.create_task(_post(http, bench, "/console/restart", {}))
    await until(lambda: bench.restarts)
    assert (await _post(http, bench, "/console/restart", {}))[0] == 409
    bench.restart_may_end.set()
    assert await first == (200, {"restarted": True})
    assert (await _post(http, bench, "/console/restart", {}))[0] == 200
    assert bench.restarts == 2


async def test_statistics_are_passed_on_or_missing(bench: Bench, http: aiohttp.ClientSession) -> None:
    """The panel gets what the actors tell, and 503 when they do not answer in time."""
    async with http.get("/console/stats") as answer:
        assert (answer.status, await answer.json()) == (200, {"actors": STATS})
    bench.stats_fail = True
    async with http.get("/console/stats") as answer:
        assert (answer.status, await answer.json()) == (503, {"error": "no statistics within 5 s"})


async def test_open_pages_are_bounded_and_end_with_the_server(bench: Bench) -> None:
    """One page too many gets 503; stopping the server ends all streams at once."""
    async with aiohttp.ClientSession(bench.url, connector=aiohttp.TCPConnector(limit=0)) as http:
        streams = [await http.get("/console/events") for _ in range(MAX_STREAMS)]
        async with http.get("/console/events") as refused:
            assert refused.status == 503
        streams.pop().close()
        await bench.app.shutdown()
        async with asyncio.timeout(2):
            for stream in streams:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await stream.read()


async def test_a_page_that_falls_behind_is_cut_off(bench: Bench) -> None:
    """A listener that reads nothing holds a bounded number of changes and is told to look anew."""
    with bench.telegram.world.listening(capacity=2) as changes:
        for text in ("a", "b", "c", "d"):
            bench.telegram.say(7, text)
        kept = [changes.get_nowait() for _ in range(changes.qsize())]
    assert [each and each.kind for each in kept] == ["message", None]
