"""Modal's client on an account or on a plane: connected within a deadline, its failures in one line."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import modal
import modal.exception
from grpclib.exceptions import GRPCError, StreamTerminatedError
from modal_proto import api_pb2

from app.fleet import GATEWAY, SKILLS
from app.targets.place import Place
from app.targets.refusals import ModalRefused
from app.transport.remote import RemoteFleet, remote_fleet

T = TypeVar("T")

HELLO_S: Final = 10.0  # a handshake; the client alone would try for minutes
LOST: Final = (GRPCError, StreamTerminatedError)  # as they come when the other side goes away in between
LOOK_UP_S: Final = 10.0  # one round trip or two


@asynccontextmanager
async def connected(place: Place) -> AsyncIterator[modal.Client]:
    """A client that has been greeted by the place; raises ModalRefused."""
    async with await told(place, _client(place), HELLO_S) as client:
        await told(place, client.hello.aio(), HELLO_S)
        yield client


@asynccontextmanager
async def deployed_fleet(place: Place) -> AsyncIterator[RemoteFleet]:
    """The references to the actors of the app that is deployed there; raises ModalRefused."""
    async with connected(place) as client:
        registry = modal.Cls.from_name(place.app_name, SKILLS, client=client)
        await told(place, registry.hydrate.aio(), LOOK_UP_S)
        yield remote_fleet(place.app_name, place.shards, client)


async def gateway_url(place: Place, client: modal.Client) -> str:
    """The web address of the deployed gateway, without a slash at its end; raises ModalRefused."""
    server = modal.Server.from_name(place.app_name, GATEWAY, client=client)
    url: str | None = await told(place, server.get_url.aio(), LOOK_UP_S)
    if not url:
        raise ModalRefused(f"{place} does not tell the address of {GATEWAY}")
    return url.rstrip("/")


async def told(place: Place, call: Awaitable[T], deadline_s: float) -> T:
    """Await the call; a failure of the client's becomes one line: raises ModalRefused."""
    try:
        async with asyncio.timeout(deadline_s):
            return await call
    except TimeoutError:
        raise ModalRefused(f"{place} did not answer within {deadline_s:g} s") from None
    except modal.exception.AuthError as error:
        raise ModalRefused(f"{place} does not know this token: run `modal setup` ({line(error)})") from None
    except modal.exception.NotFoundError as error:
        raise ModalRefused(_not_found(place, error)) from None
    except (modal.exception.Error, *LOST, OSError) as error:  # what the client makes of all other failures
        raise ModalRefused(f"{place}: {line(error)}") from None


def line(error: BaseException) -> str:
    """The first line of what an error says."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:300]


# ---------------------------------------------------------------- helpers


async def _client(place: Place) -> modal.Client:
    if place.plane is None:
        return await modal.Client.from_env.aio()
    environment = place.plane.environment
    credentials = (environment["MODAL_TOKEN_ID"], environment["MODAL_TOKEN_SECRET"])
    return modal.Client(place.plane.url, api_pb2.CLIENT_TYPE_CLIENT, credentials)


def _not_found(place: Place, error: modal.exception.NotFoundError) -> str:
    deploy = "`firstlight up`" if place.kind == "plane" else "`modal deploy modal_app.py`"
    return f"the app {place.app_name} is not deployed to {place}: run {deploy} ({line(error)})"
