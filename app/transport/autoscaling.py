"""The autoscaler of a deployed pool, under the names that each release of Modal's client has for it."""

from typing import Any, Final, Protocol

FIRST: Final = "autoscaler"  # since modal 1.6.2; `update_autoscaler` is deprecated from then on


class Autoscaler(Protocol):
    """Reads and overrides the settings of one pool; both raise what the client raises."""

    async def settings(self) -> Any:
        """Those in force, as fields named like the deploy's arguments; None where one is not set."""

    async def update(self, **wanted: int) -> None:
        """Override these until the next deploy; the others stay."""


def autoscaler_of(function: Any, owner: Any = None) -> Autoscaler:
    """That of a function or server, or of a method and the instance of a class that owns it.

    An instance's methods stand for its own pool. A new client has the autoscaler there and not at the instance,
    an older one the other way round.
    """
    if hasattr(function, FIRST):
        return _New(function.autoscaler)
    return _Old(function if owner is None else owner)


class _New:
    """As `autoscaler` has it."""

    def __init__(self, autoscaler: Any) -> None:
        self._autoscaler = autoscaler

    async def settings(self) -> Any:
        return await self._autoscaler.settings.aio()

    async def update(self, **wanted: int) -> None:
        await self._autoscaler.update.aio(**wanted)


class _Old:
    """As `update_autoscaler` has it, which answers with the settings in force after it: also where it changed none."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def settings(self) -> Any:
        return await self._handle.update_autoscaler.aio()

    async def update(self, **wanted: int) -> None:
        await self._handle.update_autoscaler.aio(**wanted)
