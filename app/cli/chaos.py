"""`chaos`: faults from a seed, in a simulation or on a plane, and whether every promise was kept."""

import math
import sys
from contextlib import nullcontext
from typing import Final, TextIO

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.chaos.faults import KINDS
from app.chaos.siege import schedule
from app.chaos.simulation import FIRESTORE, Account, Plan, Simulation, StoreKind, command_of, simulate
from app.cli import chaos_plane
from app.cli.chaos_tables import counted, injected
from app.lazily import load
from app.observability import configure_logging

LEVELS = click.Choice(["debug", "info", "warning", "error", "critical"])


MINUTES: Final = {"simulation": 10.0, "plane": 0.5}


def _kinds(context: click.Context, _option: click.Parameter, names: str) -> tuple[str, ...]:
    """Read names of faults, separated by commas; one that the target does not know is wrong usage."""
    known = schedule.KINDS if context.params["target"] == "plane" else KINDS
    chosen = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in chosen:
        if name not in known:
            raise click.BadParameter(f"{name!r} is no kind of fault; there are {', '.join(known)}")
    return chosen


def _number(_context: click.Context, _option: click.Parameter, given: float | None) -> float | None:
    """NaN is within every range."""
    if given is not None and math.isnan(given):
        raise click.BadParameter("nan is no number")
    return given


@click.command()
@click.option(
    "--target",
    type=click.Choice(list(MINUTES)),
    default="simulation",
    is_eager=True,  # which faults there are depends on it
    help="On virtual time (default), or the deployed app on a plane of its own, in real minutes.",
)
@click.option(
    "--store",
    type=click.Choice(["memory", "sqlite", "firestore"]),
    default="memory",
    show_default=True,
    help="Of a simulation: none but memory, a service's own SQLite store in a file of the moment, or its own "
    "Firestore store over a Firestore in memory, on a wire that fails.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="What chance begins with."
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.1, 100_000.0),  # some months: more is a slip, and infinity has no end
    callback=_number,
    help="Simulated ones (default 10); on a plane real ones (default 0.5), and then until all has an end.",
)
@click.option(
    "--intensity",
    type=click.FloatRange(0.0, 1_000.0),
    callback=_number,
    default=1.0,
    help="Multiplies how often faults come.",
)
@click.option("--only", default="", callback=_kinds, metavar="KIND,...", help="Inject these faults only.")
@click.option("--without", default="", callback=_kinds, metavar="KIND,...", help="Do not inject these.")
@click.option("--trace", type=click.File("w"), help="Write every event there, as lines of JSON.")
@click.option(
    "--log-level", type=LEVELS, default="critical", show_default=True, help="Of the actors' own log."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def chaos(
    target: str,
    store: StoreKind,
    seed: int,
    minutes: float | None,
    intensity: float,
    only: tuple[str, ...],
    without: tuple[str, ...],
    trace: TextIO | None,
    log_level: str,
    as_json: bool,
) -> None:
    """Simulate people, faults and deaths on virtual time; the same seed gives the same run.

    With --target plane the app itself is deployed to a plane of its own and besieged there: real containers are
    killed, at the moments that the seed says. Exits with 1 when an update was lost, doubled or out of order, or
    another promise was broken.
    """
    configure_logging(log_level)
    plan = Plan(
        seed=seed,
        minutes=minutes or MINUTES[target],
        intensity=intensity,
        only=only,
        without=without,
        store=store,
    )
    if target == "plane":
        if store != "memory":
            raise click.UsageError("--store is the simulation's; a plane has a store of its own")
        sys.exit(chaos_plane.besiege(plan, trace, as_json=as_json))
    if store == "firestore":
        _need_google()
    account = _simulated(plan, trace)
    if as_json:
        click.echo(msgspec.json.encode(account))
    else:
        _tell(account, plan)
    sys.exit(0 if account.holds else 1)


def _need_google() -> None:
    """The adapter of a service talks in Google's own messages."""
    try:
        load(FIRESTORE)
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"--store firestore needs the package google-cloud-firestore: no module {error.name} is installed"
        ) from None


def _simulated(plan: Plan, trace: TextIO | None) -> Account:
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) if console.is_terminal else nullcontext() as bar:
        if bar is None:
            return simulate(plan, trace_file=trace)
        task = bar.add_task("starting", total=plan.minutes * 60)

        def progress(now_s: float, simulation: Simulation) -> None:
            faults, updates = simulation.faults.injected.total(), simulation.people.updates.counts.updates
            bar.update(
                task,
                completed=now_s,
                description=f"minute {now_s / 60:.0f}: {updates} updates, {faults} faults",
            )

        return simulate(plan, progress=progress, trace_file=trace)


def _tell(account: Account, plan: Plan) -> None:
    console = Console(highlight=False)
    console.print(_summary(account))
    console.print(injected(account.faults, lambda kind: KINDS[kind].meaning))
    for violation in account.violations:
        console.print(
            f"BROKEN at {violation.at_s:.3f} s: {violation.promise}: {violation.detail}",
            markup=False,
            soft_wrap=True,
        )
    if account.holds:
        console.print(f"every promise was kept; trace {account.trace}")
    else:
        console.print(f"replay it: {command_of(plan)}", soft_wrap=True)


def _summary(account: Account) -> Table:
    title = f"seed {account.seed}, {account.simulated_s / 60:.1f} simulated minutes"
    rows = {
        "updates": account.updates,
        "duplicates delivered": account.duplicates,
        **{f"turns {state}": count for state, count in account.ends.items()},
        "messages shown": account.shown,
        **{f"unknown: {why}": count for why, count in account.unknown.items()},
        **{f"turns unknown: {why}": count for why, count in account.owed.items()},
        "turns at work in a container that died": account.in_flight,
        "turns that began from a stale session": account.stale,
        "fullest mailbox": account.fullest_mailbox,
        "longest standstill without a cause, s": account.longest_stall_s,
        "lost": account.lost,
        "doubled": account.doubled,
        "out of order": account.out_of_order,
    }
    return counted(title, rows)
