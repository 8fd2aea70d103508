"""The whole protocol at once: which RPC is answered where. What does not stand here is refused by its name."""

import base64
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from app.plane.containers import Container
from app.plane.errors import missing
from app.plane.images import BUILDER
from app.plane.rpc import Streaming, Unary
from app.plane.serving import Serving

if TYPE_CHECKING:
    from app.plane.plane import Plane

TOKEN_S: Final = 3600.0  # the client renews it after half of that


def shared_table(plane: "Plane") -> dict[str, Unary]:
    """What clients ask; containers are clients, too."""
    apps, calling, functions = plane.apps, plane.calling, plane.functions
    return {
        "ClientHello": _hello,
        "EnvironmentGetOrCreate": _environment,
        "AuthTokenGet": _auth_token,
        "AppGetByDeploymentName": apps.by_name,
        "AppGetOrCreate": apps.look_up,
        "AppCreate": apps.create,
        "AppGetLayout": apps.get_layout,
        "AppGetLifecycle": apps.lifecycle,
        "AppPublish": apps.publish,
        "AppClientDisconnect": _empty(apps.disconnect),
        "AppStop": _empty(apps.stop_by_id),
        "AppHeartbeat": _empty(apps.heartbeat),
        "AppList": apps.list,
        "AppFetchLogs": plane.logs.fetch,
        "AppCountLogs": plane.logs.count,
        "TaskList": lambda request: _tasks(plane, request),
        "ContainerStop": lambda request: _stop_container(plane, request),
        "MountBatchedCheckExistence": plane.code.which_missing,
        "MountPutFile": lambda request: _put_file(plane, request),
        "MountGetOrCreate": plane.code.create_mount,
        "ImageGetOrCreate": plane.images.create,
        "SecretGetOrCreate": plane.secrets.get_or_create,
        "VolumeGetOrCreate": plane.volumes.get_or_create,
        "VolumeReload": plane.volumes.reload,
        "VolumeCommit": plane.volumes.commit,
        "BlobCreate": plane.blobs.create,
        "BlobGet": plane.blobs.get,
        "FunctionPrecreate": functions.precreate,
        "FunctionCreate": functions.create,
        "ClassCreate": functions.create_class,
        "FunctionGet": apps.function,
        "ClassGet": apps.cls,
        "FunctionBindParams": plane.pools.bind,
        "FunctionMap": calling.start,
        "FunctionGetOutputs": calling.outputs,
        "FunctionCallCancel": _empty(calling.cancel),
        "FunctionCallFromId": calling.from_id,
        "FunctionGetCurrentStats": calling.stats,
        "FunctionUpdateSchedulingParams": calling.update_scaling,
        "FunctionGetSchedulingParams": calling.scaling,
    }


def shared_streams(plane: "Plane") -> dict[str, Streaming]:
    """What is answered piece by piece."""
    return {"AppGetLogs": plane.logs.follow}


def container_table(container: Container) -> dict[str, Unary]:
    """What only a container asks, over its own socket."""
    serving = Serving(container)
    return {
        "ContainerHello": serving.hello,
        "ContainerHeartbeat": serving.heartbeat,
        "ContainerServerLifecycleReady": serving.listens,
        "TunnelStart": serving.tunnel,
        "TunnelStop": serving.tunnel_end,
        "ContainerCheckpoint": serving.checkpoint,
        "ContainerStop": serving.stop,
        "TaskResult": serving.failed,
        "FunctionGetInputs": serving.take,
        "FunctionPutOutputs": serving.put,
        "FunctionGetDynamicConcurrency": serving.concurrency,
    }


# ---------------------------------------------------------------- helpers: what needs no more than a line


async def _hello(_: Any) -> Any:
    return api_pb2.ClientHelloResponse(image_builder_version=BUILDER)


async def _environment(_: Any) -> Any:
    settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER)
    metadata = api_pb2.EnvironmentMetadata(name="main", settings=settings)
    return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)


async def _auth_token(_: Any) -> Any:
    """A token of the form that the client reads the expiry of; nothing here asks for it."""
    parts = [{"alg": "none"}, {"exp": time.time() + TOKEN_S}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return api_pb2.AuthTokenGetResponse(token=f"{'.'.join(encoded)}.none")


def _empty(handler: Callable[[Any], Awaitable[None]]) -> Unary:
    async def handle(request: Any) -> Empty:
        await handler(request)
        return Empty()

    return handle


async def _put_file(plane: "Plane", request: Any) -> Any:
    """MountPutFile: without content it asks whether the file is there."""
    if request.data_blob_id:
        plane.code.put(request.sha256_hex, plane.blobs.read(request.data_blob_id))
    elif request.WhichOneof("data_oneof") == "data":
        plane.code.put(request.sha256_hex, request.data)
    return api_pb2.MountPutFileResponse(exists=plane.code.has(request.sha256_hex))


async def _tasks(plane: "Plane", request: Any) -> Any:
    """TaskList."""
    tasks = [
        api_pb2.TaskStats(
            task_id=container.id,
            app_id=container.pool.function.app_id,
            app_description=plane.apps.get(container.pool.function.app_id).name,
            enqueued_at=container.created_at,
            started_at=container.created_at if container.was_ready else 0.0,
        )
        for container in plane.launcher.running.values()
        if request.app_id in ("", container.pool.function.app_id)
    ]
    return api_pb2.TaskListResponse(tasks=tasks)


async def _stop_container(plane: "Plane", request: Any) -> Any:
    """ContainerStop of `modal container stop` and of a deploy that recreates."""
    container = plane.launcher.running.get(request.task_id)
    if container is None:
        raise missing(f"no container {request.task_id}")
    container.pool.interrupt(container)
    return api_pb2.ContainerStopResponse()
