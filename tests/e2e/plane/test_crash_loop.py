"""Fault D7: an actor whose containers fail as they start, one after the other."""

from pathlib import Path

import aiohttp
import pytest

from app.fleet import GATEWAY
from app.plane import Plane
from tests.app.plane.kit import until
from tests.e2e.kit import SECRET
from tests.e2e.plane.kit import APP, on_plane
from tests.e2e.plane.tree import copy_of_the_code

pytestmark = [pytest.mark.modal, pytest.mark.soak]

BROKEN = """

def placed_session_cache(settings: Settings, shard: int) -> Placed:
    raise RuntimeError("this build is broken")
"""
UPDATE = {
    "update_id": 1,
    "message": {"message_id": 1, "date": 1, "chat": {"id": 5, "type": "private"}, "text": "hello"},
}


@pytest.mark.timeout(120)  # some 20 s, the first warm's deadline; the rest is for a busy machine
async def test_a_crash_loop_is_answered_503_and_raises_an_alarm(tmp_path: Path) -> None:
    """Telegram keeps the message and comes back, `/health` says what is wrong, and the log has an error."""
    tree = copy_of_the_code(tmp_path, "v1")
    with (tree / "app" / "wiring.py").open("a") as wiring:
        wiring.write(BROKEN)
    async with (
        on_plane(tmp_path, crash_first_s=0.05, crash_gives_up=2) as app,
        aiohttp.ClientSession() as http,
    ):
        await app.deploy(tree)
        await app.one_ready(GATEWAY)
        url = app.plane.address(GATEWAY)
        secret = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
        async with http.post(f"{url}/webhook/telegram", json=UPDATE, headers=secret) as answer:
            assert (503, True) == (answer.status, int(answer.headers["Retry-After"]) > 0)
        async with http.get(f"{url}/health") as answer:
            health = await answer.json()
        assert ("degraded", "unreachable") == (
            health["status"],
            health["actors"]["SessionCacheActor[0]"]["status"],
        )
        async with http.get(f"{url}/readyz") as answer:  # it takes updates, if only to say: later
            assert 200 == answer.status
        await until(lambda: _alarmed(app.plane))


def _alarmed(plane: Plane) -> bool:
    lines = plane.logs.lines(plane.apps.named(APP).id)
    return any(
        '"level":"error"' in line.text and "actors_unreachable" in line.text and line.function == GATEWAY
        for line in lines
    )
