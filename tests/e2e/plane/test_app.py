"""The app as it is deployed to Modal, in real containers: its first answer, an admin's script, and its old address."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from app.plane import inside
from tests.app.plane.kit import ROOT, until
from tests.e2e.kit import SECRET
from tests.e2e.plane.kit import ACTORS, AGENT, APP, GATEWAY, REPLY_S, SESSIONS, SKILLS, OnPlane, on_plane
from tests.modal_double import bare

pytestmark = [pytest.mark.modal, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

DEPLOY_CPU_S = (
    3.0  # the promise is 3 s on a machine of one's own, and the processor's time is what that takes
)
CHAT, OTHER_CHAT = 41, 42

ADMIN = """
import json
import modal, msgspec

for name in {actors}:
    report = modal.Cls.from_name("{app}", name)().warm.remote()
    print(json.dumps(msgspec.msgpack.decode(report)))
"""

OLD_FUNCTION = """
import sys
from app.plane import inside

inside.bind_loopback_only()
from app.placed_gateway import serve_beside
from app.transport.remote import remote_fleet

serve_beside(lambda: remote_fleet("{app}", 1), 8001)
sys.stdin.read()
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OnPlane]:
    """The app, deployed once for all tests here; each leaves the actors as warm as it found them."""
    async with on_plane(tmp_path_factory.mktemp("app")) as app:
        await app.deploy(ROOT)
        await app.open_webhook()
        yield app


async def test_a_deploy_takes_under_three_seconds_and_the_first_webhook_is_answered(app: OnPlane) -> None:
    """From `modal deploy modal_app.py` as it is to an answer at Telegram, by a container of each kind."""
    assert app.deploy_cpu_s < DEPLOY_CPU_S
    app.telegram.say(CHAT, "hello")
    (reply, *_) = await app.telegram.wait_for_reply(CHAT, deadline_s=REPLY_S)
    assert reply.text
    placed = {name: len(app.containers(name)) for name in (*ACTORS, GATEWAY)}
    assert {SKILLS: 1, SESSIONS: 1, AGENT: 1, GATEWAY: 1} == placed


async def test_an_admins_script_warms_every_actor_and_reads_its_report(app: OnPlane) -> None:
    """It needs Modal's client and a decoder of msgpack, and nothing of ours."""
    script = ADMIN.format(actors=ACTORS, app=APP)
    reports = {report["actor"]: report for report in map(json.loads, (await _run(app, script)).splitlines())}
    assert dict.fromkeys(ACTORS, "warm") == {name: report["status"] for name, report in reports.items()}
    assert reports[SKILLS]["loaded"] == reports[SKILLS]["requested"] > 0
    assert 0 == reports[SESSIONS]["shard"]


async def test_a_conversation_goes_through_the_servers_address(app: OnPlane) -> None:
    """What was set and said before is known to the turns that follow, in whatever container."""
    said = ("/mode brief", "What can I cook with eggs?", "What did I say before?", "/status")
    for number, text in enumerate(said, 1):
        app.telegram.say(OTHER_CHAT, text)
        await app.telegram.wait_for_reply(OTHER_CHAT, number, REPLY_S)
    _, _, before, status = (reply.text for reply in app.telegram.replies(OTHER_CHAT))
    assert "What can I cook with eggs?" in before
    assert "mode: brief" in status
    assert "remembered messages: 4" in status


async def test_the_old_function_answers_at_its_own_address(app: OnPlane) -> None:
    """What it serves, without the proxy of Modal's before it: webhooks at the address of old go on to work."""
    async with _old_function(app) as url:
        await app.open_webhook(url)
        app.telegram.say(43, "hello")
        (reply, *_) = await app.telegram.wait_for_reply(43, deadline_s=REPLY_S)
        await app.open_webhook()
    assert reply.text


async def _run(app: OnPlane, script: str) -> str:
    """Run it as a program of its own, with an account and no code of ours."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), **_environment(app, PYTHONPATH=""), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(REPLY_S):
        output, _ = await process.communicate()
    assert 0 == process.returncode
    return output.decode()


@asynccontextmanager
async def _old_function(app: OnPlane) -> AsyncIterator[str]:
    """The function's body in a process of its own; gives where it listens."""
    port_file = app.home / "port"
    environ = _environment(
        app,
        TELEGRAM_BOT_TOKEN=app.telegram.token,
        TELEGRAM_WEBHOOK_SECRET=SECRET,
        TELEGRAM_API_URL=app.telegram.url,
        **{inside.DECLARED_PORT: "8001", inside.PORT_FILE: str(port_file)},
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OLD_FUNCTION.format(app=APP)), **environ, stdin=asyncio.subprocess.PIPE
    )
    try:
        await until(port_file.exists)
        yield f"http://127.0.0.1:{port_file.read_text()}"
    finally:
        process.kill()
        await process.wait()


def _environment(app: OnPlane, **more: str) -> dict[str, Any]:
    return {"env": bare(app.home) | app.plane.environment() | more, "cwd": app.home}
