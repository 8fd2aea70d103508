"""The pools of an app on Modal or on a plane, read and changed by the client's autoscaler."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import modal
import modal.exception

from app.fleet import AGENT, GATEWAY, SESSIONS, SKILLS
from app.scale.desired import Wanted
from app.scale.pools import Deployment, Pool, PoolsRefused, settings_of
from app.targets.modal_side import told
from app.targets.place import Place
from app.targets.refusals import ModalRefused
from app.transport.autoscaling import Autoscaler, autoscaler_of

CALL_S: Final = 10.0  # a look-up and one round trip
AT_ONCE: Final = 16  # shards asked in parallel: there may be 1,024


class _Handle(NamedTuple):
    """A pool's name and actor; the autoscaler; and what gives its current numbers."""

    name: str
    actor: str
    autoscaler: Autoscaler
    current: Callable[[], Awaitable[Any]]


class ModalPools:
    """The port Pools over a connected client."""

    def __init__(self, place: Place, client: modal.Client) -> None:
        self._place, self._client = place, client
        self._handles = {handle.name: handle for handle in self._all()}
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def deployment(self) -> Deployment:
        """By the app's own lifecycle; a side that knows none leaves it open."""
        try:
            app = await self._call(modal.App.lookup.aio(self._place.app_name, client=self._client))
            if not hasattr(app, "info"):  # before modal 1.6 an app does not tell
                return Deployment()
            info = await self._call(app.info.aio())
        except _Unknown:
            return Deployment()
        return Deployment(app_id=info.app_id, version=info.lifecycle.version or 0)

    async def look(self) -> Sequence[Pool]:
        """Ask all in parallel."""
        return await asyncio.gather(*map(self._look, self._handles.values()))

    async def change(self, pool: str, wanted: Wanted) -> None:
        """`autoscaler.update`: what is not named stays as it is."""
        try:
            await self._call(self._handles[pool].autoscaler.update(**wanted))
        except _Unknown:
            raise PoolsRefused(f"{self._place} does not know how to scale {pool}") from None

    async def _look(self, handle: _Handle) -> Pool:
        current = await self._current(handle)
        return Pool(
            name=handle.name,
            actor=handle.actor,
            settings=await self._settings(handle),
            containers=current.num_total_runners if current else None,
            waiting=current.backlog if current else None,
        )

    async def _settings(self, handle: _Handle) -> dict[str, int | None] | None:
        try:
            return settings_of(await self._call(handle.autoscaler.settings()))
        except _Unknown:
            return None

    async def _current(self, handle: _Handle) -> Any:
        try:
            return await self._call(handle.current())
        except _Unknown:
            return None

    async def _call(self, call: Awaitable[Any]) -> Any:
        async with self._turn:
            try:
                return await told(self._place, _known(call), CALL_S)
            except ModalRefused as error:
                raise PoolsRefused(str(error)) from None

    def _all(self) -> list[_Handle]:
        skills, sessions, agent = (
            modal.Cls.from_name(self._place.app_name, name, client=self._client)
            for name in (SKILLS, SESSIONS, AGENT)
        )
        shards = [
            _of_class(f"{SESSIONS}[{shard}]", "session_cache", sessions(shard=shard))
            for shard in range(self._place.shards)
        ]
        return [
            _of_class(SKILLS, "skill_registry", skills()),
            *shards,
            _of_class(AGENT, "chat_agent", agent()),
            self._gateway(),
        ]

    def _gateway(self) -> _Handle:
        found = (self._place.app_name, GATEWAY)
        server = modal.Server.from_name(*found, client=self._client)
        function = modal.Function.from_name(*found, client=self._client)  # a server itself tells no numbers
        return _Handle(GATEWAY, "gateway", autoscaler_of(server), function.get_current_stats.aio)


class _Unknown(Exception):
    """The other side does not serve that question."""


async def _known(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except modal.exception.UnimplementedError:
        raise _Unknown from None


def _of_class(name: str, actor: str, instance: Any) -> _Handle:
    """An instance's methods stand for its own pool."""
    method = instance.stats
    return _Handle(name, actor, autoscaler_of(method, instance), method.get_current_stats.aio)
