"""A plane with a client of Modal's, and deploys by the client's own command."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import modal
from modal.client import Client
from modal_proto import api_pb2

from app.plane import Options, Plane
from tests.modal_double import ROOT, bare

DEPLOY_S: Final = 50.0  # below the limit of one test; it takes one or two
SOON_S: Final = 30.0  # containers are cold processes, and the machine may be busy


class Deployed:
    """A plane, and a client in this process."""

    def __init__(self, plane: Plane, client: Any, home: Path) -> None:
        self.plane, self.client, self.home = plane, client, home

    async def modal(self, *arguments: str, **environ: str) -> str:
        """Run `modal ...` in a process of its own, and give what it prints; it must succeed."""
        code, output = await self.run(*arguments, **environ)
        assert code == 0, output
        return output

    async def run(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """The same, whatever comes of it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "modal", *arguments),
            cwd=self.home,
            env=bare(self.home) | self.plane.environment() | {"COLUMNS": "200"} | environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(DEPLOY_S):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def deploy(self, source: str, name: str = "toy", **environ: str) -> str:
        """Write a module and deploy it."""
        (self.home / f"{name}.py").write_text(source)
        return await self.modal("deploy", f"{name}.py", **environ)

    def cls(self, name: str, app: str = "toy") -> Any:
        """A deployed class."""
        return modal.Cls.from_name(app, name, client=self.client)

    def function(self, name: str, app: str = "toy") -> Any:
        """A deployed function."""
        return modal.Function.from_name(app, name, client=self.client)


@asynccontextmanager
async def running(home: Path, options: Options | None = None) -> AsyncIterator[Deployed]:
    """A plane that ends with the block."""
    async with (
        Plane(home / "plane", options) as plane,
        Client(plane.url, api_pb2.CLIENT_TYPE_CLIENT, plane.credentials) as client,
    ):
        yield Deployed(plane, client, home)


async def until(true: Callable[[], bool], deadline_s: float = SOON_S) -> None:
    """Wait for it; a busy machine makes it late, and a defect makes it never."""
    async with asyncio.timeout(deadline_s):
        while not true():  # noqa: ASYNC110 - the plane tells nobody when a container's state changes
            await asyncio.sleep(0.02)


__all__ = ["ROOT", "Deployed", "running", "until"]
