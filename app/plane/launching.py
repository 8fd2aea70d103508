"""Puts together what a container is started with: code, variables, arguments, its socket and its port."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from app.plane import inside
from app.plane.calls import Status, failed
from app.plane.code import HOME, Code
from app.plane.containers import Container, LogSink, Start
from app.plane.definition_check import Definition
from app.plane.http2 import Answer
from app.plane.ids import Ids
from app.plane.images import Images
from app.plane.options import Options
from app.plane.pools import Pool
from app.plane.secrets import Secrets
from app.plane.volumes import Volumes

log = structlog.get_logger(__name__)

INHERITED: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""All that containers see of the plane's own environment: they must not depend on who runs it."""
ENVIRONMENT: Final = "main"  # Modal's name of the only environment
CHECKPOINT: Final = "ch-0"


@dataclass(slots=True, eq=False)
class Launcher:
    """Starts containers and waits for their ends."""

    options: Options
    ids: Ids
    code: Code
    images: Images
    secrets: Secrets
    volumes: Volumes
    sink: LogSink
    layout: Callable[[str], Any]
    """An app's layout (api_pb2.AppLayout) by its id."""
    answer: Callable[[Container], Answer]
    """What answers on a container's socket."""
    deployed: Callable[[], Iterable[Definition]]
    """What every function is, or is about to be."""
    running: dict[str, Container] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _lifeline: tuple[int, int] = (-1, -1)
    _folder: Path = Path()

    def open(self) -> None:
        """Make the pipe that ends with the plane, and a short folder: a socket's path has 107 bytes at most."""
        self._lifeline = os.pipe()
        self._folder = Path(tempfile.mkdtemp(prefix="firstlight-"))

    async def close(self) -> None:
        """Kill what runs, and wait for it; idempotent."""
        for container in list(self.running.values()):
            container.asked_to_end = True
            container.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for end in self._lifeline:
            if end >= 0:
                os.close(end)
        self._lifeline = (-1, -1)
        shutil.rmtree(self._folder, ignore_errors=True)

    def launch(self, pool: Pool) -> Container | None:
        """Start one; None when the plane has as many as it may."""
        if len(self.running) >= self.options.most_containers:
            log.warning("no_room_for_container", function=pool.name, most=self.options.most_containers)
            return None
        version = pool.function.version
        container = Container(self.ids.make("ta"), pool, pool.definition, version, self.sink)
        self.running[container.id] = container
        task = asyncio.create_task(self._run(container), name=f"container {container.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return container

    def sweep(self) -> None:
        """Remove the code of deploys that no app and no container uses any more."""
        starts = [container.start for container in self.running.values()]
        trees = {start.folder.parent for start in starts if start is not None}
        self.code.keep(trees, [self._mounts(definition) for definition in self.deployed()])

    async def _run(self, container: Container) -> None:
        code = -1
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            start = self._start(container, folder)
            code = await container.run(start, self.answer(container))
        except (
            GRPCError,
            OSError,
        ) as error:  # a file, a secret or a process that can't be had: told as its failure
            container.failure = failed(Status.GENERIC_STATUS_INIT_FAILURE, str(error))
        finally:
            log.info("container_gone", container=container.id, function=container.pool.name, code=code)
            self.running.pop(container.id, None)
            container.pool.gone(container, code)
            shutil.rmtree(folder, ignore_errors=True)
            self.sweep()

    def _start(self, container: Container, folder: Path) -> Start:
        definition = container.definition
        image = self.images.get(definition.image_id)
        tree = self.code.lay_out(self._mounts(definition))
        arguments, socket, port_file = folder / "arguments", folder / "s", folder / "port"
        arguments.write_bytes(self._arguments(container).SerializeToString())
        variables = dict(image.environ)
        for secret_id in definition.secret_ids:
            variables |= self.secrets.variables(secret_id)
        environ = self._inherited() | self.volumes.moved(variables, definition.volume_mounts)
        environ |= self._modal(container, socket, arguments) | self._inside(container, port_file)
        environ |= {"PYTHONPATH": str(tree / HOME), "HOME": str(folder)}
        if self._snapshots(definition):
            environ |= {
                "MODAL_ENABLE_SNAP_RESTORE": "1",
                "MODAL_RESTORE_STATE_PATH": str(folder / "restored"),
            }
        command = (self.options.python, inside.__file__)
        return Start(command, environ, tree / HOME, socket, port_file, self._lifeline[0])

    def _mounts(self, definition: Definition) -> list[str]:
        return [*self.images.get(definition.image_id).mounts, *definition.mount_ids]

    def _arguments(self, container: Container) -> Any:
        function = container.pool.function
        definition = api_pb2.Function()
        definition.CopyFrom(container.definition)
        snapshots = self._snapshots(definition)
        definition.is_checkpointing_function = snapshots
        return api_pb2.ContainerArguments(
            task_id=container.id,
            function_id=container.pool.id,
            app_id=function.app_id,
            function_def=definition,
            serialized_params=container.pool.params,
            environment_name=ENVIRONMENT,
            app_layout=self.layout(function.app_id),
            checkpoint_id=CHECKPOINT if snapshots else "",
        )

    def _snapshots(self, definition: Any) -> bool:
        return self.options.snapshots and bool(definition.checkpointing_enabled)

    def _inherited(self) -> dict[str, str]:
        return {key: os.environ[key] for key in INHERITED if key in os.environ} | dict(self.options.environ)

    def _modal(self, container: Container, socket: Path, arguments: Path) -> dict[str, str]:
        return {
            "MODAL_SERVER_URL": f"unix://{socket}",
            "MODAL_TASK_ID": container.id,
            "MODAL_IS_REMOTE": "1",
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_ENVIRONMENT": ENVIRONMENT,
            "MODAL_IMAGE_ID": container.definition.image_id,
            "MODAL_CLOUD_PROVIDER": "local",
            "MODAL_REGION": "local",
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONUNBUFFERED": "1",
        }

    def _inside(self, container: Container, port_file: Path) -> dict[str, str]:
        told = {inside.LIFELINE: str(self._lifeline[0])}
        if not container.is_server:
            return told
        port = container.definition.http_config.port
        return told | {inside.DECLARED_PORT: str(port), inside.PORT_FILE: str(port_file)}
