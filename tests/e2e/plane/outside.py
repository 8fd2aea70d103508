"""Programs beside the app on a plane: an admin's script, and what the function of old serves."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from app.plane import inside
from tests.app.plane.kit import until
from tests.e2e.kit import SECRET
from tests.e2e.plane.kit import ACTORS, APP, REPLY_S, OnPlane
from tests.modal_double import bare

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
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), **_environment(app, PYTHONPATH=""), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(REPLY_S):
        output, _ = await process.communicate()
    assert 0 == process.returncode
    return [json.loads(line) for line in output.splitlines()]


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
