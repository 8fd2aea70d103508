"""`warm` and `stats`: what an operator asks of the actors of a running service, of the plane, or on Modal."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from app.cli.running import fail, run, settings
from app.cli.targets import place_of, target_options
from app.fleet import is_known, unknown
from app.targets.asking import Asking, Document, NotAnswered, WarmWish, asking, unreached

NAME = Column("actor", no_wrap=True)
Question = Callable[[Asking], Awaitable[Document]]


def _actor(_context: click.Context, _argument: click.Parameter, actor: str) -> str:
    """A name that no fleet has is wrong usage, whether or not something answers."""
    if not is_known(actor):
        raise click.BadParameter(unknown(actor))
    return actor


@click.command()
@click.argument("actor", default="all", callback=_actor)
@click.option("--shard", type=click.IntRange(min=0), help="One shard of SessionCacheActor.")
@click.option("--force", is_flag=True, help="Start afresh, also while a pass is running.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@target_options
def warm(
    actor: str, shard: int | None, force: bool, as_json: bool, target: str | None, url: str | None
) -> None:
    """Warm ACTOR (or all), and show the reports; exits with 1 when one could not be reached."""
    wish = WarmWish(actor=actor, shard=shard, force=force)
    answer = run(_ask(target, url, lambda actors: actors.warm(wish)))
    _show(answer, _reports(answer), as_json=as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@target_options
def stats(as_json: bool, target: str | None, url: str | None) -> None:
    """Show what the actors tell of themselves; exits with 1 when one could not be reached."""
    answer = run(_ask(target, url, lambda actors: actors.stats()))
    _show(answer, _statistics(answer), as_json=as_json)


async def _ask(target: str | None, url: str | None, question: Question) -> Document:
    chosen = settings()
    place = await place_of(chosen, target, url)
    try:
        return await question(asking(place, chosen))
    except NotAnswered as error:
        fail(str(error))


def _show(answer: Document, table: Table, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(answer))
    else:
        Console().print(table)
    silent = unreached(answer)
    for each in silent:
        click.echo(f"firstlight: {each}", err=True)
    sys.exit(1 if silent else 0)


def _reports(answer: Document) -> Table:
    table = _table("status", "source", "requested", "loaded", "failed", "store reads", "ms")
    for report in answer["reports"]:
        table.add_row(*map(str, _report_row(report)))
    return table


def _statistics(answer: Document) -> Table:
    table = _table("warm", "entries", "bytes", "hits", "misses", "store reads", "store writes")
    for name, each in answer["actors"].items():
        table.add_row(name, *map(str, _stats_row(each)))
    return table


def _table(*columns: str) -> Table:
    """So narrow that 80 characters show all of it."""
    return Table(NAME, *columns, box=SIMPLE_HEAD, padding=0, pad_edge=False)


def _report_row(report: dict[str, Any]) -> tuple[object, ...]:
    shard = report.get("shard")
    name = report["actor"] if shard is None else f"{report['actor']}[{shard}]"
    fields = ("status", "source", "requested", "loaded", "failed", "store_reads", "duration_ms")
    return name, *(report[field] for field in fields)


def _stats_row(each: dict[str, Any]) -> tuple[object, ...]:
    warmed = (each.get("warm") or {}).get("status", "-")
    counts = (each.get(field, "-") for field in ("entries", "bytes", "hits", "misses"))
    uses = (each.get(field, {}).get("calls", "-") for field in ("store_reads", "store_writes"))
    return warmed, *counts, *uses
