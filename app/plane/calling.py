"""The RPCs of whoever calls: start a call, wait for its answer, cancel it, ask how a pool does and scale it."""

from dataclasses import dataclass
from typing import Any, Final

from modal_proto import api_pb2

from app.plane.apps import Apps
from app.plane.calls import Answers, Call
from app.plane.errors import missing, unknown
from app.plane.faults import Faults
from app.plane.ids import Ids
from app.plane.pools import Pool
from app.plane.registry import Pools

ANSWER_S: Final = 60.0  # above the 55 s that the client asks for at most
OUTSTANDING: Final = 1_000  # for `map`, which is refused; the field must not be 0


@dataclass(slots=True, eq=False)
class Calling:
    """Calls of clients and of containers, which are clients too."""

    ids: Ids
    apps: Apps
    pools: Pools
    answers: Answers
    faults: Faults

    async def start(self, request: Any) -> Any:
        """FunctionMap: with its only input in it, a call of `remote` or `spawn`."""
        if request.function_call_type == api_pb2.FUNCTION_CALL_TYPE_MAP or len(request.pipelined_inputs) != 1:
            raise unknown("Function.map")
        pool = self.pools.get(request.function_id)
        self.apps.must_run(pool.function.app_id)
        _must_have(pool, request.pipelined_inputs[0].input.method_name)
        scripted = await self.faults.before(pool.name)
        call = self.put(pool, request.pipelined_inputs[0].input, request.function_call_invocation_type)
        self.faults.after(pool.name, scripted)
        accepted = api_pb2.FunctionPutInputsResponseItem(
            idx=0, input_id=call.input_id, input_jwt=call.input_id
        )
        return api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            pipelined_inputs=[accepted],
            function_call_jwt=call.id,
            sync_client_retries_enabled=False,  # retries are the plane's, for `spawn` as for `remote`
            max_inputs_outstanding=OUTSTANDING,
        )

    def put(
        self, pool: Pool, payload: Any, invocation: int = api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC
    ) -> Call:
        """Queue a call; raises RESOURCE_EXHAUSTED."""
        retries = pool.definition.retry_policy.retries
        call = Call(self.ids.make("fc"), self.ids.make("in"), pool, payload, invocation, retries)
        pool.put(call)
        self.answers.add(call)
        return call

    def scheduled(self, pool: Pool) -> Call:
        """A call without arguments; raises RESOURCE_EXHAUSTED."""
        return self.put(pool, api_pb2.FunctionInput(data_format=api_pb2.DATA_FORMAT_PICKLE))

    async def outputs(self, request: Any) -> Any:
        """FunctionGetOutputs: the answer, or nothing when it takes longer than the client waits."""
        call = self.answers.get(request.function_call_id)
        if not await call.wait(min(request.timeout, ANSWER_S)):
            return api_pb2.FunctionGetOutputsResponse(last_entry_id="0-0", num_unfinished_inputs=1)
        return api_pb2.FunctionGetOutputsResponse(outputs=[call.answer], last_entry_id="1-0")

    async def cancel(self, request: Any) -> None:
        """FunctionCallCancel."""
        call = self.answers.get(request.function_call_id)
        if not call.done:
            call.pool.queue.cancel(call, kill_container=request.terminate_containers)

    async def from_id(self, request: Any) -> Any:
        """FunctionCallFromId."""
        call = self.answers.get(request.function_call_id)
        response = api_pb2.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=1)
        response.metadata.app_id = call.pool.function.app_id
        response.metadata.function_id = call.pool.id
        return response

    async def stats(self, request: Any) -> Any:
        """FunctionGetCurrentStats."""
        pool = self.pools.get(request.function_id)
        return api_pb2.FunctionStats(
            backlog=len(pool.queue.waiting),
            num_total_tasks=len(pool.containers),
            num_running_inputs=sum(len(container.active) for container in pool.containers.values()),
        )

    async def update_scaling(self, request: Any) -> Any:
        """FunctionUpdateSchedulingParams: in force at once."""
        settings = self.pools.get(request.function_id).update(request.settings)
        return api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=settings)

    async def scaling(self, request: Any) -> Any:
        """FunctionGetSchedulingParams."""
        settings = self.pools.get(request.function_id).settings
        configuration = api_pb2.AutoscalerConfiguration(settings=settings)
        return api_pb2.FunctionGetSchedulingParamsResponse(autoscaler_configuration=configuration)


def _must_have(pool: Pool, method: str) -> None:
    """Refuse what a handle of another deploy may ask for: it would end each container that takes it."""
    methods = pool.definition.method_definitions
    if methods and method not in methods:
        raise missing(f"no method '{method}' in {pool.name}, which has {', '.join(sorted(methods))}")
