"""The options `--target` and `--url` of the commands that an operator runs against a service, a plane or Modal."""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from app.cli.running import fail
from app.settings import Settings
from app.targets.note import FOLDER, UnreadableNote, is_alive, read_note
from app.targets.place import KINDS, NoPlace, Place, Wish, find_place

F = TypeVar("F", bound=Callable[..., Any])


def target_option(command: F) -> F:
    """Add `--target`."""
    shown = "A service (local), this folder's plane, or Modal; found by itself where it can be."
    return click.option("--target", type=click.Choice(KINDS), help=shown)(command)


def target_options(command: F) -> F:
    """Add `--target` and `--url`."""
    url = "A service's address (default http://FIRSTLIGHT_HOST:FIRSTLIGHT_PORT)."
    return target_option(click.option("--url", callback=_web_address, help=url)(command))


def _web_address(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url is not None:
        check_address(url)
    return url


def check_address(url: str) -> None:
    """Refuse what is no web address as wrong usage, before anything is asked."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        known = False
    if not known:
        raise click.BadParameter(
            f"{url[:60]!r} is no address: give one such as http://127.0.0.1:8080", param_hint="--url"
        )


async def plane_runs() -> bool:
    """Whether this folder has a plane."""
    try:
        note = read_note(FOLDER)
    except UnreadableNote as error:
        fail(str(error))
    return note is not None and await is_alive(note)


async def place_of(chosen: Settings, target: Any, url: str | None = None) -> Place:
    """Where the command is to work; ends the command with one line when there is no such place."""
    if url and target not in (None, "local"):
        raise click.UsageError("--url is the address of a service: it goes with --target local only")
    try:
        return await find_place(chosen, Wish(target=target, url=url), FOLDER)
    except NoPlace as error:
        fail(str(error))
