"""Programs beside the app on a plane: an admin's script, and what the function of old serves."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from subprocess import PIPE
from typing import Any, Final

from app.plane import inside
from tests.commands import run, started
from tests.e2e.kit import SECRET
from tests.e2e.plane.kit import ACTORS, APP, REPLY_S, OnPlane
from tests.modal_double import bare
from tests.waiting import until

ADMIN: Final = """
import json
import modal, msgspec

for name in {actors}:
    report = modal.Cls.from_name("{app}", name)().warm.remote()
    print(json.dumps(msgspec.msgpack.decode(report)))
"""

OLD_FUNCTION: Final = """
import sys
from app.plane import inside

inside.bind_loopback_only()
from app.placed_gateway import serve_beside
from app.transport.remote import remote_fleet

serve_beside(lambda: remote_fleet("{app}", 1), 8001)
sys.stdin.read()
"""


async def admin_script(app: OnPlane) -> list[dict[str, Any]]:
    """Run a script that warms every actor, with an account and no code of ours; gives the reports by field name."""
    script = ADMIN.format(actors=ACTORS, app=APP)
    ran = await run(sys.executable, "-c", script, within_s=REPLY_S, **_environment(app, PYTHONPATH=""))
    assert 0 == ran.exit_code, ran.output
    return [json.loads(line) for line in ran.stdout.splitlines()]


@asynccontextmanager
async def old_function(app: OnPlane) -> AsyncIterator[str]:
    """The function's body in a process of its own; gives where it listens."""
    port_file = app.home / "port"
    environ = _environment(
        app,
        TELEGRAM_BOT_TOKEN=app.telegram.token,
        TELEGRAM_WEBHOOK_SECRET=SECRET,
        TELEGRAM_API_URL=app.telegram.url,
        **{inside.DECLARED_PORT: "8001", inside.PORT_FILE: str(port_file)},
    )
    async with started(sys.executable, "-c", OLD_FUNCTION.format(app=APP), **environ, stdin=PIPE):
        await until(port_file.exists)
        yield f"http://127.0.0.1:{port_file.read_text()}"


def _environment(app: OnPlane, **more: str) -> dict[str, Any]:
    return {"env": bare(app.home) | app.plane.environment() | more, "cwd": app.home}
