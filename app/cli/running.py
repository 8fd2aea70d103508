"""How commands run the asynchronous world: one loop, ended by Ctrl-C or SIGTERM, failures in one line."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import click
import structlog
import uvloop

from app.observability import configure_logging
from app.settings import Settings, load

log = structlog.get_logger(__name__)

T = TypeVar("T")


def settings(*, serves: bool = False) -> Settings:
    """Read the settings, send the log to stderr, and warn of what is odd."""
    loaded = load()
    configure_logging(loaded.log_level, loaded.secrets())
    for warning in loaded.warnings(serves=serves):
        log.warning("settings", warning=warning)
    return loaded


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a fast loop; Ctrl-C ends it with exit code 130."""
    try:
        return uvloop.run(work)
    except KeyboardInterrupt:
        sys.exit(130)


def fail(reason: str) -> NoReturn:
    """Say in one line why the thing asked for failed, and exit with 1."""
    click.echo(f"firstlight: {reason}", err=True)
    sys.exit(1)


def stop_signal() -> asyncio.Event:
    """Set by SIGINT or SIGTERM from now on; asked for before a service starts, as it serves before it is warm."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    return stopped


async def unless(stopped: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work, or leave off once the event is set: a start may wait for a store. Gives whether it was done."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    for task in (working, waiting):
        task.cancel()
    await asyncio.gather(working, waiting, return_exceptions=True)
    if working.cancelled():
        return False
    working.result()
    return True


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
