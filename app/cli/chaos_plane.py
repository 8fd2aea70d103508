"""`chaos --target plane`: besieges the deployed app, shows how it goes, and tells the verdict."""

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from actors.stores import StoreError
from app.chaos.siege.schedule import KINDS
from app.chaos.simulation import Plan, command_of
from app.cli.chaos_tables import counted, injected
from app.cli.running import fail, run, stop_signal
from app.lazily import load
from app.scale.pools import PoolsRefused
from app.targets.refusals import ModalRefused
from app.up.deploying import DeployFailed

if TYPE_CHECKING:
    from app.chaos.siege.siege import Account

T = TypeVar("T")

FAILURES: Final = (DeployFailed, ModalRefused, PoolsRefused, StoreError, TimeoutError, OSError)
"""Why a siege may not come to its end; each says so in a line or a few."""
INTERRUPTED: Final = 130
SHOWN: Final = 40  # problems; --json has them all


def besiege(plan: Plan, trace: TextIO | None, *, as_json: bool) -> int:
    """Besiege and tell; gives the exit code. Ctrl-C ends everything that was begun."""
    try:
        account = run(_until_stopped(_besieged(plan, trace)))
    except FAILURES as error:
        fail(f"the siege came to no end: {str(error) or 'it took too long'}")
    if account is None:
        return INTERRUPTED
    if as_json:
        click.echo(msgspec.json.encode(account))
    else:
        _tell(account, plan)
    return 0 if account.holds else 1


async def _besieged(plan: Plan, trace: TextIO | None) -> "Account":
    console = Console(stderr=True)
    with console.status("deploying") if console.is_terminal else nullcontext() as status:

        def progress(now_s: float, what: str) -> None:
            if status is not None:
                status.update(f"second {now_s:.0f} of {plan.minutes * 60:.0f} and some: {what}")

        account: Account = await load("app.chaos.siege.siege:besiege")(
            plan, progress, trace
        )  # Modal's client
        return account


async def _until_stopped(work: Coroutine[Any, Any, T]) -> T | None:
    """None when Ctrl-C came first: then the work has ended, too."""
    stopped = asyncio.create_task(stop_signal().wait())
    working = asyncio.create_task(work)
    await asyncio.wait({stopped, working}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return None


# ---------------------------------------------------------------- for people


def _tell(account: "Account", plan: Plan) -> None:
    console = Console(highlight=False)
    console.print(_summary(account))
    console.print(injected(account.faults, _meaning))
    for problem in account.problems[:SHOWN]:
        console.print(f"BROKEN: {problem}", markup=False, soft_wrap=True)
    if account.holds:
        console.print("every promise was kept")
        return
    command = command_of(plan).replace("chaos", "chaos --target plane", 1)
    sys.stdout.write(f"the same faults again: {command}\n")


def _summary(account: "Account") -> Table:
    title = f"seed {account.seed}, {account.seconds:.0f} s on a plane"
    rows = {
        "messages written": account.updates,
        "of them answered 200": account.accepted,
        "deliveries repeated": account.duplicates,
        **{f"turns {state}": count for state, count in account.ends.items()},
        "messages shown": account.shown,
        **{f"unknown: {why}": count for why, count in account.unknown.items()},
        "sends in flight at faults": account.in_flight,
        "turns that began from a stale session": account.stale,
        **{f"most containers: {name}": count for name, count in account.most_containers.items()},
        "lost": account.lost,
        "doubled": account.doubled,
        "out of order": account.out_of_order,
    }
    return counted(title, rows)


def _meaning(kind: str) -> str:
    return KINDS[kind].meaning if kind in KINDS else "by the simulated Telegram"
