"""Functions by id: what a deploy in the making says of each, and what the last finished deploy said."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from modal_proto import api_pb2

from app.plane.definition import metadata, summary
from app.plane.definition_check import Definition, check, check_request
from app.plane.errors import missing
from app.plane.ids import Ids


@dataclass(slots=True, eq=False)
class Function:
    """A function, a class (all its methods) or a server of one app."""

    id: str
    app_id: str
    announced: Any  # api_pb2.FunctionPrecreateRequest
    draft: Definition | None = None
    live: Definition = field(default_factory=api_pb2.Function)
    version: int = 0
    """Of `live`; 0 before a first deploy."""
    url: str = ""
    """Of a server or a web function."""
    capacity: bool = True
    """False is a fault: no container of it starts."""

    @property
    def name(self) -> str:
        """What people call it: a class without its `.*`."""
        return str(self.announced.function_name).removesuffix(".*")

    @property
    def metadata(self) -> Any:
        """What handles know of it (api_pb2.FunctionHandleMetadata), and nothing of a deploy that failed."""
        return self.described(self.live if self.version else self.draft or self.announced)

    @property
    def summary(self) -> Any:
        """Its definition for whoever looks it up (api_pb2.FunctionData)."""
        return summary(self.live)

    def described(self, definition: Definition) -> Any:
        """The same, were it so defined."""
        return metadata(self.id, self.app_id, definition, self.url)

    def publish(self, version: int) -> None:
        """The draft is in force."""
        if self.draft is not None:
            self.live, self.draft, self.version = self.draft, None, version


Address = Callable[[Function], Awaitable[str]]


class Functions:
    """All functions, and the RPCs of a deploy that make them."""

    def __init__(self, ids: Ids, address: Address) -> None:
        """`address` gives the URL of a function that is served."""
        self._ids, self._address = ids, address
        self._functions: dict[str, Function] = {}

    def get(self, function_id: str) -> Function:
        """Raises NOT_FOUND."""
        function = self._functions.get(function_id)
        if function is None:
            raise missing(f"no function {function_id}")
        return function

    def definitions(self) -> list[Definition]:
        """What is deployed, and what a deploy in the making will be."""
        known = self._functions.values()
        return [function.live for function in known] + [
            function.draft for function in known if function.draft
        ]

    def forget(self, function_id: str) -> None:
        """Its app is gone."""
        self._functions.pop(function_id, None)

    async def precreate(self, request: Any) -> Any:
        """FunctionPrecreate: an id, before code that refers to it is serialized."""
        function = self._functions.get(request.existing_function_id)
        if function is None:
            function = Function(self._ids.make("fu"), request.app_id, request)
            self._functions[function.id] = function
        function.announced = request
        return api_pb2.FunctionPrecreateResponse(
            function_id=function.id, handle_metadata=function.described(request)
        )

    async def create(self, request: Any) -> Any:
        """FunctionCreate: its definition, in force from AppPublish on."""
        function = self.get(request.existing_function_id)
        check_request(request)
        definition = request.function
        check(definition)
        if definition.is_server or definition.webhook_config.type:
            function.url = definition.web_url = await self._address(function)
        function.draft = definition
        return api_pb2.FunctionCreateResponse(
            function_id=function.id,
            function=definition,
            handle_metadata=function.described(definition),
            function_data=summary(definition),
        )

    async def create_class(self, request: Any) -> Any:
        """ClassCreate: a class is its function and an id."""
        return api_pb2.ClassCreateResponse(
            class_id=request.existing_class_id or self._ids.make("cs"),
            handle_metadata=api_pb2.ClassHandleMetadata(),
        )
