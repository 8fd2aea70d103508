"""The RPCs of a container, which its socket identifies: take inputs, put answers, report its start and its end."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from app.plane.calls import Call
from app.plane.containers import Container
from app.plane.errors import unknown
from app.plane.queues import Turn
from app.plane.web import LOOPBACK

log = structlog.get_logger(__name__)

RESTORE_S: Final = 0.1  # the client closes its connections before it waits for the restore


@dataclass(slots=True, eq=False)
class Serving:
    """What one container may ask."""

    container: Container

    async def hello(self, _: Any) -> Empty:
        """ContainerHello."""
        return Empty()

    async def heartbeat(self, _: Any) -> Any:
        """ContainerHeartbeat."""
        return await self.container.heartbeat()

    async def take(self, _: Any) -> Any:
        """FunctionGetInputs."""
        turn = await self.container.pool.take(self.container)
        match turn:
            case Turn.LATER:
                return api_pb2.FunctionGetInputsResponse()
            case Turn.OVER:
                return api_pb2.FunctionGetInputsResponse(
                    inputs=[api_pb2.FunctionGetInputsItem(kill_switch=True)]
                )
            case Call() as call:
                return api_pb2.FunctionGetInputsResponse(inputs=[_item(call)])

    async def put(self, request: Any) -> Empty:
        """FunctionPutOutputs."""
        for item in request.outputs:
            self.container.pool.queue.answered(self.container, item)
        return Empty()

    async def listens(self, _: Any) -> Any:
        """ContainerServerLifecycleReady."""
        self.container.pool.ready(self.container)
        return Empty()

    async def tunnel(self, request: Any) -> Any:
        """TunnelStart: with it clients before 1.6 say that a server listens; anybody else's tunnel is refused."""
        if not self.container.is_server:
            raise unknown("modal.forward")
        self.container.pool.ready(self.container)
        return api_pb2.TunnelStartResponse(host=LOOPBACK, port=self.container.port or request.port)

    async def tunnel_end(self, _: Any) -> Any:
        """TunnelStop."""
        return api_pb2.TunnelStopResponse(exists=self.container.is_server)

    async def failed(self, request: Any) -> Empty:
        """TaskResult: it could not start, and says why."""
        self.container.failure = request.result
        return Empty()

    async def concurrency(self, request: Any) -> Any:
        """FunctionGetDynamicConcurrency: more than the target only while inputs wait and no container may be added."""
        pool = self.container.pool
        full = pool.scaling.most and len(pool.containers) >= pool.scaling.most
        crowded = bool(pool.queue.waiting) and full
        chosen = request.max_concurrency if crowded else request.target_concurrency
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=chosen)

    async def stop(self, _: Any) -> Any:
        """ContainerStop: it wants no more inputs."""
        self.container.pool.drain(self.container)
        return api_pb2.ContainerStopResponse()

    async def checkpoint(self, _: Any) -> Any:
        """ContainerCheckpoint: say that it was restored, a moment later."""
        asyncio.get_running_loop().call_later(RESTORE_S, self._restore)
        return Empty()

    def _restore(self) -> None:
        start = self.container.start
        if start is None or not start.socket.parent.exists():
            return
        state = {"task_id": self.container.id, "server_url": start.environ["MODAL_SERVER_URL"]}
        path = Path(start.environ["MODAL_RESTORE_STATE_PATH"])
        part = path.with_suffix(".part")
        part.write_text(json.dumps(state))
        os.replace(part, path)


def _item(call: Call) -> Any:
    return api_pb2.FunctionGetInputsItem(
        input_id=call.input_id,
        input=call.payload,
        function_call_id=call.id,
        function_call_invocation_type=call.invocation,  # type: ignore[arg-type]  # an enum's value is an int
        retry_count=call.attempt,
    )
