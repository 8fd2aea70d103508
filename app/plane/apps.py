"""Apps: deployed ones by name and those of a `modal run`, each with the layout in which its objects are looked up."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from modal_proto import api_pb2

from app.plane.containers import now_s
from app.plane.definition_check import check_environment
from app.plane.errors import missing, stopped, unknown
from app.plane.functions import Function, Functions
from app.plane.ids import Ids
from app.plane.logs import Logs
from app.plane.registry import Pools
from app.plane.schedules import Schedules
from app.plane.volumes import Volumes

log = structlog.get_logger(__name__)

ENVIRONMENT: Final = "main"
LASTING: Final = (api_pb2.APP_STATE_DEPLOYED, api_pb2.APP_STATE_DETACHED)  # these outlive their client
PASSING: Final = (api_pb2.APP_STATE_EPHEMERAL, api_pb2.APP_STATE_DETACHED)  # of a `modal run` or `serve`
KEPT: Final = 100  # stopped apps, for `modal app list` and the logs


@dataclass(slots=True, eq=False)
class App:
    """One app."""

    id: str
    name: str
    state: int
    created_at: float = field(default_factory=time.time)
    deployed_at: float = 0.0
    stopped_at: float = 0.0
    version: int = 0
    heard_at: float = field(default_factory=now_s)
    """When its client last said that it is there."""
    functions: dict[str, str] = field(default_factory=dict)
    """Function ids by tag."""
    classes: dict[str, str] = field(default_factory=dict)

    @property
    def is_stopped(self) -> bool:
        """Whether it takes no more calls."""
        return self.state == api_pb2.APP_STATE_STOPPED

    @property
    def label(self) -> str:
        """Its name in addresses: a `modal run` does not take those of the deployed app."""
        return f"{self.name}-dev" if self.state in PASSING else self.name

    @property
    def lifecycle(self) -> Any:
        """The same for a client (api_pb2.AppLifecycle)."""
        return api_pb2.AppLifecycle(
            app_state=self.state,  # type: ignore[arg-type]  # an enum's value is an int
            created_at=self.created_at,
            deployed_at=self.deployed_at,
            stopped_at=self.stopped_at,
            version=self.version,
        )


@dataclass(slots=True, eq=False)
class Apps:
    """All apps, and their RPCs."""

    ids: Ids
    functions: Functions
    pools: Pools
    schedules: Schedules
    volumes: Volumes
    logs: Logs
    settled: Callable[[], None]
    """Called when what is deployed has changed."""
    unheard_s: float
    """After which a client counts as gone."""
    _apps: dict[str, App] = field(default_factory=dict)
    _deployed: dict[str, str] = field(default_factory=dict)

    def get(self, app_id: str) -> App:
        """Raises NOT_FOUND."""
        if app_id not in self._apps:
            raise missing(f"no app {app_id}")
        return self._apps[app_id]

    def named(self, name: str) -> App:
        """A deployed one; raises NOT_FOUND."""
        if name not in self._deployed:
            raise missing(f"App '{name}' is not deployed here")
        return self._apps[self._deployed[name]]

    def must_run(self, app_id: str) -> None:
        """Raises FAILED_PRECONDITION for an app that is stopped."""
        app = self.get(app_id)
        if app.is_stopped:
            raise stopped(app.name)

    def has(self, function: Function) -> bool:
        """Whether it is part of an app that runs."""
        app = self._apps.get(function.app_id)
        return app is not None and not app.is_stopped and function.id in app.functions.values()

    def layout(self, app_id: str) -> Any:
        """What of an app can be looked up (api_pb2.AppLayout)."""
        app = self.get(app_id)
        layout = api_pb2.AppLayout(function_ids=app.functions, class_ids=app.classes)
        functions = [self.functions.get(function_id) for function_id in app.functions.values()]
        for function in functions:
            layout.objects.add(object_id=function.id).function_handle_metadata.CopyFrom(function.metadata)
        for class_id in app.classes.values():
            layout.objects.add(object_id=class_id).class_handle_metadata.SetInParent()
        for object_id in sorted(set(_dependencies(functions))):
            entry = layout.objects.add(object_id=object_id)
            if object_id.startswith("vo-"):
                entry.volume_metadata.CopyFrom(self.volumes.metadata(object_id))
            elif object_id.startswith("mo-"):
                entry.mount_handle_metadata.SetInParent()
        return layout

    # ------------------------------------------------------------ deploying

    async def by_name(self, request: Any) -> Any:
        """AppGetByDeploymentName."""
        check_environment(request)
        response = api_pb2.AppGetByDeploymentNameResponse(environment_name=ENVIRONMENT)
        found = [app for app in self._apps.values() if app.name == request.name and app.deployed_at]
        if found:
            app = found[-1]
            response.lifecycle.CopyFrom(app.lifecycle)
            if app.is_stopped:
                response.previous_app_id = app.id
            else:
                response.app_id = app.id
        return response

    async def look_up(self, request: Any) -> Any:
        """AppGetOrCreate, of an app that is deployed: one that was made here would hold nothing."""
        check_environment(request)
        app = self.named(request.app_name)
        described = api_pb2.AppHandleMetadata(description=app.name, lifecycle=app.lifecycle)
        return api_pb2.AppGetOrCreateResponse(app_id=app.id, handle_metadata=described)

    async def create(self, request: Any) -> Any:
        """AppCreate."""
        check_environment(request)
        app = App(self.ids.make("ap"), request.description, request.app_state)
        self._apps[app.id] = app
        self._forget_oldest()
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url=f"this machine ({app.id})")

    async def get_layout(self, request: Any) -> Any:
        """AppGetLayout."""
        return api_pb2.AppGetLayoutResponse(app_layout=self.layout(request.app_id))

    async def publish(self, request: Any) -> Any:
        """AppPublish: what the deploy defined is in force, all at once."""
        app, now = self.get(request.app_id), time.time()
        if request.staged:
            raise unknown("staged deploys")
        gone = set(app.functions.values()) - set(request.function_ids.values())
        app.functions, app.classes = dict(request.function_ids), dict(request.class_ids)
        app.state, app.version = request.app_state, app.version + 1
        if request.app_state == api_pb2.APP_STATE_DEPLOYED:
            app.name, app.deployed_at = request.name, now
            self._deployed[app.name] = app.id
        self._retire(gone)
        functions = [self.functions.get(function_id) for function_id in app.functions.values()]
        for function in functions:
            function.publish(app.version)
        for function in functions:
            self.pools.deployed(function.id)
            self.schedules.plan(self.pools.of(function))
        self.settled()
        log.info("app_published", app=app.name, version=app.version, functions=len(functions))
        return api_pb2.AppPublishResponse(url=_first_url(functions), deployed_at=now)

    async def function(self, request: Any) -> Any:
        """FunctionGet: by its app's name and its own."""
        check_environment(request)
        app = self.named(request.app_name)
        if request.object_tag not in app.functions:
            raise missing(f"Function '{request.object_tag}' is not in app '{app.name}'")
        function = self.functions.get(app.functions[request.object_tag])
        return api_pb2.FunctionGetResponse(
            function_id=function.id, handle_metadata=function.metadata, function=function.summary
        )

    async def cls(self, request: Any) -> Any:
        """ClassGet."""
        check_environment(request)
        app = self.named(request.app_name)
        if request.object_tag not in app.classes:
            raise missing(f"Class '{request.object_tag}' is not in app '{app.name}'")
        return api_pb2.ClassGetResponse(
            class_id=app.classes[request.object_tag], handle_metadata=api_pb2.ClassHandleMetadata()
        )

    # ------------------------------------------------------------ afterwards

    async def disconnect(self, request: Any) -> None:
        """AppClientDisconnect: ends what its client does not leave behind."""
        app = self.get(request.app_id)
        if app.state not in LASTING:
            self.stop(app)

    async def heartbeat(self, request: Any) -> None:
        """AppHeartbeat."""
        self.get(request.app_id).heard_at = now_s()

    def tick(self) -> None:
        """End what a client left behind that was killed: it could not say that it goes."""
        late = now_s() - self.unheard_s
        for app in list(self._apps.values()):
            if app.state == api_pb2.APP_STATE_EPHEMERAL and app.heard_at < late:
                log.warning("client_unheard", app=app.name, within_s=self.unheard_s)
                self.stop(app)

    async def stop_by_id(self, request: Any) -> None:
        """AppStop."""
        self.stop(self.get(request.app_id))

    def stop_all(self) -> None:
        """The plane ends."""
        for app in list(self._apps.values()):
            self.stop(app)

    def stop(self, app: App) -> None:
        """End its containers and answer its calls."""
        if app.is_stopped:
            return
        app.state, app.stopped_at = api_pb2.APP_STATE_STOPPED, time.time()
        self._deployed = {name: app_id for name, app_id in self._deployed.items() if app_id != app.id}
        self._retire(set(app.functions.values()))
        self.logs.end(app.id)
        self.settled()
        log.info("app_stopped", app=app.name)

    async def list(self, _: Any) -> Any:
        """AppList."""
        return api_pb2.AppListResponse(apps=[self._listed(app) for app in self._apps.values()])

    async def lifecycle(self, request: Any) -> Any:
        """AppGetLifecycle."""
        return api_pb2.AppGetLifecycleResponse(lifecycle=self.get(request.app_id).lifecycle)

    # ------------------------------------------------------------ helpers

    def _listed(self, app: App) -> Any:
        running = [
            pool for function_id in app.functions.values() for pool in self.pools.of_function(function_id)
        ]
        return api_pb2.AppListResponse.AppListItem(
            app_id=app.id,
            description=app.name,
            name=app.name if app.deployed_at else "",
            state=app.state,  # type: ignore[arg-type]  # an enum's value is an int
            created_at=app.created_at,
            stopped_at=app.stopped_at,
            n_running_tasks=sum(len(pool.containers) for pool in running),
        )

    def _retire(self, function_ids: set[str]) -> None:
        for function_id in function_ids:
            self.schedules.drop(function_id)
            self.pools.retire(function_id)
            self.functions.forget(function_id)

    def _forget_oldest(self) -> None:
        done = [app for app in self._apps.values() if app.is_stopped]
        for app in done[: max(0, len(done) - KEPT)]:
            del self._apps[app.id]
            self.logs.forget(app.id)


def _dependencies(functions: list[Function]) -> Iterator[str]:
    for function in functions:
        yield from (dependency.object_id for dependency in function.live.object_dependencies)


def _first_url(functions: list[Function]) -> str:
    urls = [function.url for function in functions if function.url]
    return urls[0] if urls else "http://127.0.0.1"
