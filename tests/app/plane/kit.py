"""A plane with a client of Modal's, and deploys by the client's own command."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import modal
from modal.client import Client
from modal_proto import api_pb2

from app.plane import Options, Plane
from tests import commands
from tests.commands import ROOT
from tests.modal_double import bare
from tests.waiting import until

DEPLOY_S: Final = 50.0  # below the limit of one test; it takes one or two


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
        ran = await commands.run(
            *(sys.executable, "-m", "modal", *arguments),
            within_s=DEPLOY_S,
            cwd=self.home,
            env=bare(self.home) | self.plane.environment() | {"COLUMNS": "200"} | environ,
        )
        return ran.exit_code, ran.output

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


__all__ = ["ROOT", "Deployed", "running", "until"]
