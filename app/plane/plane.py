"""The plane: everything it consists of, put together, started and stopped."""

import asyncio
import os
import secrets as random_secrets
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import structlog

from app.plane.apps import Apps
from app.plane.blobs import Blobs
from app.plane.calling import Calling
from app.plane.calls import Answers
from app.plane.code import Code
from app.plane.containers import Container
from app.plane.faults import Faults
from app.plane.folder import hold
from app.plane.functions import Function, Functions
from app.plane.http2 import Answer
from app.plane.ids import Ids
from app.plane.images import Images
from app.plane.launching import Launcher
from app.plane.listening import Server
from app.plane.logs import Listener, Logs
from app.plane.options import Options
from app.plane.pools import Pool
from app.plane.proxy import Proxy
from app.plane.registry import Pools
from app.plane.rpc import Surface
from app.plane.schedules import Schedules
from app.plane.secrets import Secrets
from app.plane.tables import container_table, shared_streams, shared_table
from app.plane.volumes import Volumes
from app.plane.web import LOOPBACK, Web

log = structlog.get_logger(__name__)

END_POLL_S: Final = 0.02
TOKEN_ID: Final = "ak-firstlight"  # noqa: S105 - the secret beside it is made up at each start


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """One container as the plane sees it."""

    id: str
    function: str
    pid: int
    """0 before its process started."""
    state: str
    """`starting`, `ready` or `ending`."""
    running: int
    """Inputs or requests."""
    port: int
    """A server's, on loopback; 0 for others."""
    version: int
    """The deploy that it was started from."""
    pool: str
    """The pool's id: containers of a class share one for each set of parameters."""


class Plane:
    """Modal's control plane on loopback: `async with Plane(folder) as plane:` serves until the block ends.

    Below `folder` it keeps uploaded code, blobs and volumes; the rest is in memory and ends with it, as do
    all containers, also when its process is killed.
    """

    def __init__(
        self, folder: Path, options: Options | None = None, listener: Listener | None = None
    ) -> None:
        """`listener` sees every line that a container prints."""
        self.options = options or Options()
        folder = folder.absolute()
        ids = Ids()
        self._folder, self._ids = folder, ids
        self._token_secret = self.options.token_secret or f"as-{random_secrets.token_hex(16)}"
        self._server: Server | None = None
        self._port = 0
        self._held = AsyncExitStack()
        self._tick: asyncio.Task[None] | None = None

        self.logs = Logs(self.options.most_log_lines, listener)
        self.answers = Answers(self.options)
        self.code, self.images = Code(folder, ids), Images(ids)
        self.secrets, self.volumes = Secrets(ids, self.options.secrets), Volumes(folder / "volumes", ids)
        self.blobs = Blobs(folder / "blobs", ids, self.options.most_blob_bytes)
        self.proxy = Proxy(self._pool_of, self.options.request_s)
        self.web = Web(self.options.web_ports, self.proxy.serve)
        self.functions = Functions(ids, self._address)
        self.launcher = Launcher(
            self.options,
            ids,
            self.code,
            self.images,
            self.secrets,
            self.volumes,
            self._printed,
            self._layout,
            self._inside,
            self.functions.definitions,
        )
        self.pools = Pools(self.options, ids, self.functions, self.answers, self.launcher.launch)
        self.schedules = Schedules(self._scheduled)
        self.apps = Apps(
            ids,
            self.functions,
            self.pools,
            self.schedules,
            self.volumes,
            self.logs,
            self.launcher.sweep,
            self.options.unheard_s,
        )
        self.faults = Faults(self.launcher.running, self.pools.named)
        self.calling = Calling(ids, self.apps, self.pools, self.answers, self.faults)
        self._table, self._streams = shared_table(self), shared_streams(self)

    @property
    def url(self) -> str:
        """Where Modal's client connects."""
        return f"http://{LOOPBACK}:{self._port}"

    def environment(self) -> dict[str, str]:
        """The variables that lead Modal's client here, away from any account of this machine's user."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": TOKEN_ID,
            "MODAL_TOKEN_SECRET": self._token_secret,
            "MODAL_CONFIG_PATH": str(self._folder / "no-modal.toml"),
            "MODAL_DISABLE_API_PROXY": "1",
            "NO_PROXY": f"{LOOPBACK},localhost",
        }

    @property
    def credentials(self) -> tuple[str, str]:
        """The same token for `modal.Client.from_credentials` and its like."""
        return TOKEN_ID, self._token_secret

    def containers(self, function: str = "") -> list[ContainerInfo]:
        """All containers whose process is not gone, or those of one function, oldest first."""
        return [
            _info(container)
            for container in self.launcher.running.values()
            if function in ("", container.pool.name)
        ]

    def address(self, function: str) -> str:
        """The URL of a server or web function that is deployed; raises ValueError for another."""
        urls = [pool.function.url for pool in self.pools.named(function) if pool.function.url]
        if not urls:
            raise ValueError(f"{function} is not served over HTTP")
        return urls[-1]

    def most_seen(self, function: str) -> int:
        """The most containers that one pool of a function ever had at once."""
        return max(pool.most_seen for pool in self.pools.named(function))

    async def start(self) -> None:
        """Serve; raises OSError for a port that is taken, or a folder."""
        self._held.callback(os.close, hold(self._folder))
        try:
            await self._open()
        except BaseException:
            await self.stop()
            raise
        log.info("plane_started", url=self.url, folder=str(self._folder))

    async def end_apps(self, within_s: float) -> None:
        """Stop every app, and give exit hooks their time; what is still there afterwards `stop` kills."""
        self.apps.stop_all()
        try:
            async with asyncio.timeout(within_s):
                while self.launcher.running:  # noqa: ASYNC110 - each has its own end to wait for, new ones do not come
                    await asyncio.sleep(END_POLL_S)
        except TimeoutError:
            log.warning("containers_left", count=len(self.launcher.running), within_s=within_s)

    async def _open(self) -> None:
        self.launcher.open()
        await self.proxy.open()
        self.blobs.url = await self.web.open(self.blobs.routes())
        self._server = Server(Surface(self._table, self._streams, self._token_secret).answer)
        listening = _listen(self.options.port)
        self._port = listening.getsockname()[1]
        await self._server.listen(listening)
        self._tick = asyncio.create_task(self._ticking(), name="plane tick")

    async def stop(self) -> None:
        """Kill the containers and serve no more; idempotent."""
        self.schedules.close()
        if self._tick is not None:
            self._tick.cancel()
            await asyncio.gather(self._tick, return_exceptions=True)
            self._tick = None
        for pool in self.pools:
            pool.retired = True
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._held.aclose)
            closing.push_async_callback(self.proxy.close)
            closing.push_async_callback(self.web.close)
            closing.push_async_callback(self._close_server)
            closing.push_async_callback(self.launcher.close)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ------------------------------------------------------------ helpers

    async def _close_server(self) -> None:
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(self.options.tick_s)
            self.apps.tick()
            for pool in self.pools:
                pool.tick()

    def _inside(self, container: Container) -> Answer:
        return Surface(self._table | container_table(container), self._streams).answer

    def _layout(self, app_id: str) -> Any:
        return self.apps.layout(app_id)

    def _scheduled(self, pool: Pool) -> Any:
        return self.calling.scheduled(pool)

    def _pool_of(self, function: Function) -> Pool | None:
        return self.pools.of(function) if self.apps.has(function) else None

    async def _address(self, function: Function) -> str:
        return await self.web.address(function, self.apps.get(function.app_id).label)

    def _printed(self, container: Container, descriptor: int, text: str) -> None:
        function = container.pool.function
        self.logs.add(function.app_id, function.id, function.name, container.id, descriptor, text)


def _listen(port: int) -> socket.socket:
    """A socket that says it is TCP: only then does asyncio turn Nagle's algorithm off, which costs 40 ms a call."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
    except OSError:
        listening.close()
        raise
    return listening


def _info(container: Container) -> ContainerInfo:
    return ContainerInfo(
        id=container.id,
        function=container.pool.name,
        pid=container.pid,
        state=container.state.value,
        running=container.busy,
        port=container.port,
        version=container.version,
        pool=container.pool.id,
    )
