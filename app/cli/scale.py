"""`scale show|diff|apply`: how many containers there are, and bringing them to what a file asks for."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Column, Table

from app.cli.running import fail, run, settings
from app.cli.targets import place_of, target_options
from app.lazily import load
from app.scale.applying import apply as apply_to
from app.scale.desired import FILE, KEYS, BadFile, Desired, read_desired
from app.scale.pools import Change, Deployment, Pool, Pools, PoolsRefused, contradicting, differing
from app.scale.record import read_applied
from app.targets.place import Place, answers
from app.targets.refusals import ModalRefused

file_option = click.option(
    "--file", type=click.Path(path_type=Path), default=FILE, show_default=True, help="The desired settings."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group()
def scale() -> None:
    """See and change how many containers each actor has, on Modal or on a plane."""


@scale.command()
@json_option
@target_options
def show(as_json: bool, target: str | None, url: str | None) -> None:
    """Show each pool's settings and its containers now."""
    place = run(place_of(settings(), target, url))
    live, pools = run(_look(place))
    if as_json:
        return _json(place, live, pools=pools)
    table = Table(Column("pool", no_wrap=True), "min", "max", "buffer", "window s", "containers", "waiting")
    for pool in pools:
        values = [(pool.settings or {}).get(key) for key in KEYS]
        table.add_row(pool.name, *(_or_dash(each) for each in (*values, pool.containers, pool.waiting)))
    Console().print(table)
    return click.echo(_deployed(place, live), err=True)


@scale.command()
@file_option
@json_option
@target_options
def diff(file: Path, as_json: bool, target: str | None, url: str | None) -> None:
    """Compare the file with what is live; exits with 1 when something differs."""
    desired = _desired(file)
    place = _scalable(run(place_of(settings(), target, url)))
    live, pools = run(_look(place))
    if wrong := contradicting(desired, pools):
        fail(wrong)
    changes = differing(desired, pools, read_applied(place), live)
    if as_json:
        _json(place, live, same=not changes, changes=changes)
    else:
        _tell(changes, f"{file} is in force")
    sys.exit(1 if changes else 0)


@scale.command()
@file_option
@click.option("--after-deploy", is_flag=True, help="Do nothing where there is no such file.")
@json_option
@target_options
def apply(file: Path, after_deploy: bool, as_json: bool, target: str | None, url: str | None) -> None:
    """Bring what is live to what the file asks for; the next deploy resets it, so that it is applied again."""
    if after_deploy and not file.exists():
        return click.echo('{"changes":[]}') if as_json else None
    desired = _desired(file)
    place = _scalable(run(place_of(settings(), target, url)))
    changes = run(_apply(place, desired))
    if as_json:
        return _json(place, None, changes=changes)
    return _tell(changes, f"{file} was in force already", done=True)


async def _look(place: Place) -> tuple[Deployment, Sequence[Pool]]:
    if place.kind == "local":
        if not await answers(place.url):
            fail(f"{place} does not answer: is `firstlight serve` running there?")
        return Deployment(), (Pool(name="this process", actor="", containers=1),)
    async with _pools(place) as pools:
        return await pools.deployment(), await pools.look()


async def _apply(place: Place, desired: Desired) -> tuple[Change, ...]:
    async with _pools(place) as pools:
        return await apply_to(pools, desired, place)


@asynccontextmanager
async def _pools(place: Place) -> AsyncIterator[Pools]:
    connected = load("app.targets.modal_side:connected")  # Modal's client: 0.3 s that other commands save
    try:
        async with connected(place) as client:
            yield load("app.scale.modal_pools:ModalPools")(place, client)
    except (ModalRefused, PoolsRefused) as error:
        fail(str(error))
    except OSError as error:
        fail(f"what was applied can't be noted: {error}")


def _desired(file: Path) -> Desired:
    try:
        return read_desired(file)
    except BadFile as error:
        fail(str(error))


def _scalable(place: Place) -> Place:
    if place.kind == "local":
        fail(f"{place} is one process: there is nothing to scale (say --target plane or modal)")
    return place


# ---------------------------------------------------------------- for people and machines


def _json(place: Place, live: Deployment | None, **more: object) -> None:
    head = {"target": place.kind, "app": place.app_name}
    deployment = {} if live is None else {"version": live.version or None}
    click.echo(msgspec.json.encode(head | deployment | more))


def _tell(changes: Sequence[Change], nothing: str, *, done: bool = False) -> None:
    if not changes:
        return click.echo(nothing)
    was, now = ("was", "is now") if done else ("is", "wanted")
    for each in changes:
        reset = f" (reset by deploy {each.reset_by})" if each.reset_by else ""
        click.echo(f"{each.pool} {each.key} {was} {_or_dash(each.now)}, {now} {each.wanted}{reset}")
    return None


def _deployed(place: Place, live: Deployment) -> str:
    if place.kind == "local":
        return f"{place} is one process: there is nothing to scale"
    return f"{place.app_name} on {place}, " + (f"deploy {live.version}" if live.version else "deployed")


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)
