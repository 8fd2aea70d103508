"""Runs the real `modal deploy modal_app.py` as a process of its own."""

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.settings import ours
from app.up.reasons import WIDE, reason
from contracts.base import Value

DEPLOY_S: Final = 600.0  # the first deploy on Modal builds the image; on a plane it takes a second
ENDED_S: Final = 5.0  # what the client may take to end when it is told to
APP_FILE: Final = "modal_app.py"


class DeployFailed(Exception):
    """Nothing was deployed: why, in a line or a few."""


class Deployed(Value, frozen=True, kw_only=True):
    """How long it took, and everything that the client printed."""

    seconds: float
    output: str


def find_app_file() -> Path:
    """`modal_app.py` of the current folder, else the one beside our packages; raises DeployFailed."""
    for folder in (Path.cwd(), Path(__file__).parents[2]):
        if (folder / APP_FILE).is_file():
            return folder / APP_FILE
    raise DeployFailed(f"there is no {APP_FILE} here: run it from a checkout of Firstlight")


async def deploy(app_file: Path, variables: Mapping[str, str] | None = None) -> Deployed:
    """Deploy; raises DeployFailed.

    With variables, they replace all settings of ours and of Modal's client that this process has.
    """
    began = time.monotonic()
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "modal", "deploy", str(app_file)),
        cwd=app_file.parent,
        env=_environment(app_file.parent, variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(DEPLOY_S):
            output, _ = await client.communicate()
    except TimeoutError:
        raise DeployFailed(f"`modal deploy` did not end within {DEPLOY_S:g} s") from None
    finally:
        await _ended(client)
    text = output.decode(errors="replace")
    if client.returncode != 0:
        raise DeployFailed(reason(text, app_file.parent) or f"exit code {client.returncode}")
    return Deployed(seconds=time.monotonic() - began, output=text)


# ---------------------------------------------------------------- helpers


def _environment(folder: Path, variables: Mapping[str, str] | None) -> dict[str, str]:
    """The app's own folder goes first: what is deployed is what lies beside `modal_app.py`."""
    known = dict(os.environ)
    if variables is not None:
        own = ours(known)
        known = {key: value for key, value in known.items() if key not in own and key[:6] != "MODAL_"}
    path = os.pathsep.join(filter(None, (str(folder), known.get("PYTHONPATH"))))
    return known | dict(variables or {}) | {"PYTHONPATH": path, "COLUMNS": WIDE}


async def _ended(client: asyncio.subprocess.Process) -> None:
    if client.returncode is not None:
        return
    client.terminate()
    try:
        async with asyncio.timeout(ENDED_S):
            await client.wait()
    except TimeoutError:
        client.kill()
        await client.wait()
