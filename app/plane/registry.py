"""All pools: one for each function, and one for each set of parameters or options that somebody asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from modal_proto import api_pb2

from app.plane.calls import Answers
from app.plane.containers import Container
from app.plane.definition import with_options
from app.plane.definition_check import Definition
from app.plane.errors import exhausted, malformed
from app.plane.functions import Function, Functions
from app.plane.ids import Ids
from app.plane.options import Options
from app.plane.pools import Pool

Key = tuple[str, bytes, bytes]  # function id, serialized parameters, serialized options


@dataclass(slots=True, eq=False)
class Pools:
    """Pools by their own id, which is the function's where there are neither parameters nor options."""

    options: Options
    ids: Ids
    functions: Functions
    answers: Answers
    launch: Callable[[Pool], Container | None]
    _pools: dict[str, Pool] = field(default_factory=dict)
    _keys: dict[Key, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Pool]:
        return iter(list(self._pools.values()))

    def get(self, pool_id: str) -> Pool:
        """The pool of a function, or of a bound one; raises NOT_FOUND."""
        return self._pools.get(pool_id) or self.of(self.functions.get(pool_id))

    def of(self, function: Function) -> Pool:
        """The function's own pool."""
        if function.id not in self._pools:
            self._add(
                function.id, Pool(function.id, function, b"", None, self.options, self.answers, self.launch)
            )
        return self._pools[function.id]

    def of_function(self, function_id: str) -> list[Pool]:
        """Its own pool and those bound to it."""
        return [pool for pool in self if pool.function.id == function_id]

    def named(self, name: str) -> list[Pool]:
        """Those of functions of that name, or the one of that id; none is a ValueError."""
        found = [pool for pool in self if name in (pool.name, pool.id, pool.function.announced.function_name)]
        if not found:
            raise ValueError(f"no function {name!r}: there are {sorted({pool.name for pool in self})}")
        return found

    async def bind(self, request: Any) -> Any:
        """FunctionBindParams: the pool of these parameters and options; raises UNIMPLEMENTED for what it can't have."""
        function = self.functions.get(request.function_id)
        options = request.function_options.SerializeToString(deterministic=True)
        key = (function.id, _in_order(function.live, request.serialized_params), options)
        if key not in self._keys:
            with_options(function.live, request.function_options)  # nothing is kept of what is refused
            pool_id = self.ids.make("fu")
            laid_over = request.function_options if options else None
            pool = Pool(pool_id, function, key[1], laid_over, self.options, self.answers, self.launch)
            self._add(pool_id, pool)
            self._keys[key] = pool_id
        return api_pb2.FunctionBindParamsResponse(
            bound_function_id=self._keys[key], handle_metadata=function.metadata
        )

    def deployed(self, function_id: str) -> None:
        """A function has a new definition."""
        self.of(self.functions.get(function_id))
        for pool in self.of_function(function_id):
            pool.deployed()

    def retire(self, function_id: str) -> None:
        """A function is no more."""
        for pool in self.of_function(function_id):
            pool.retire()
            self._pools.pop(pool.id)
        self._keys = {key: pool_id for key, pool_id in self._keys.items() if pool_id in self._pools}

    def _add(self, pool_id: str, pool: Pool) -> None:
        if len(self._pools) >= self.options.most_pools:
            raise exhausted(f"pools than {len(self._pools)}")
        self._pools[pool_id] = pool


# ---------------------------------------------------------------- helpers


def _in_order(definition: Definition, params: bytes) -> bytes:
    """The same parameters by name: the client keeps its caller's order, and the same values are one pool."""
    if definition.class_parameter_info.format != api_pb2.ClassParameterInfo.PARAM_SERIALIZATION_FORMAT_PROTO:
        return bytes(params)
    try:
        values = api_pb2.ClassParameterSet.FromString(params)
    except DecodeError:
        raise malformed(f"the parameters of {definition.function_name} can't be read") from None
    ordered = sorted(values.parameters, key=lambda value: value.name)
    return api_pb2.ClassParameterSet(parameters=ordered).SerializeToString(deterministic=True)
