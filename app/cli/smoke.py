"""`smoke`: deploys, warms and talks, on a plane or on Modal, and says what was not as expected."""

import sys

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.table import Table

from app.cli.running import fail, run, settings
from app.lazily import load
from app.observability import configure_logging
from app.settings import Settings, ours
from app.smoke.checks import MISSING, Outcome, differences
from app.up.deploying import DeployFailed, find_app_file

COPIED = (
    "FIRSTLIGHT_SHARDS",
    "FIRSTLIGHT_APP_NAME",
)  # of the settings, for the plane that Modal is compared with


@click.command()
@click.option("--target", type=click.Choice(["plane", "modal"]), default="plane", show_default=True)
@click.option(
    "--chat", type=int, help="On Modal: your own chat with the bot (your user id); it gets two answers."
)
@click.option("--compare/--no-compare", default=True, help="On Modal: run on a plane first, and show both.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def smoke(target: str, chat: int | None, compare: bool, as_json: bool) -> None:
    """Deploy, warm, talk, deploy again and talk; exits with 1 unless everything was as expected.

    On a plane it needs nothing. On Modal it deploys the app of your account, as docs/modal-smoke.md says.
    """
    chosen = settings()
    configure_logging("error")  # the plane tells much; what matters is in the table
    if target == "modal" and chat is None:
        raise click.UsageError("on Modal say --chat, your own chat with the bot, which is your user id")
    outcomes = run(_smoke(chosen, chat if target == "modal" else None, compare=compare))
    if as_json:
        click.echo(msgspec.json.encode(_document(outcomes)))
    else:
        _tell(outcomes, Console())
    sys.exit(0 if outcomes[-1].ok else 1)


async def _smoke(chosen: Settings, chat: int | None, *, compare: bool) -> list[Outcome]:
    """On a plane, on Modal, or on both, the plane first."""
    modal = (
        None if chat is None else _modal_subject(chosen, chat)
    )  # what it lacks is said before anything runs
    outcomes = [await _on_plane()] if modal is None or compare else []
    if modal is not None:
        outcomes.append(await _played(modal, "Modal"))
    return outcomes


async def _on_plane() -> Outcome:
    given = {name: value for name, value in ours().items() if name in COPIED}
    async with load("app.smoke.subject:plane_subject")(given) as subject:
        return await _played(subject, "plane")


def _modal_subject(chosen: Settings, chat: int) -> object:
    try:
        subject: object = load("app.smoke.subject:ModalSubject")(chosen, chat, find_app_file())
    except DeployFailed as error:
        fail(str(error))
    return subject


async def _played(subject: object, where: str) -> Outcome:
    async with aiohttp.ClientSession() as http:
        made = load("app.smoke.play:Smoke")  # Modal's client: 0.3 s that other commands save
        with Console(stderr=True).status(where) as status:
            outcome: Outcome = await made(subject, http, lambda step: status.update(f"{where}: {step}")).run()
    return outcome


# ---------------------------------------------------------------- for people and machines


def _document(outcomes: list[Outcome]) -> dict[str, object]:
    compared = differences(*outcomes) if len(outcomes) == 2 else ()
    return {"ok": outcomes[-1].ok, "outcomes": outcomes, "differences": compared}


def _tell(outcomes: list[Outcome], console: Console) -> None:
    table = Table("check", "expected", *(f"on {each.target}" for each in outcomes))
    checks = {check.name: check.expected for outcome in outcomes for check in outcome.checks}
    for name, expected in checks.items():
        seen = [_seen(outcome, name) for outcome in outcomes]
        table.add_row(
            name, expected, *seen, style="" if all(_held(each, name) for each in outcomes) else "red"
        )
    for name in dict.fromkeys(name for outcome in outcomes for name in outcome.seconds):
        table.add_row(
            f"{name}, seconds", "", *(str(each.seconds.get(name, MISSING)) for each in outcomes), style="dim"
        )
    console.print(table)
    for outcome in outcomes:
        if outcome.stopped:
            console.print(f"stopped on {outcome.target}: {outcome.stopped}", style="red", markup=False)
    if len(outcomes) == 2:
        for each in differences(*outcomes) or ("Modal and the plane did the same",):
            console.print(each, markup=False)


def _held(outcome: Outcome, name: str) -> bool:
    """By its own expectation, which may be another one than on Modal."""
    return any(check.name == name and check.holds for check in outcome.checks)


def _seen(outcome: Outcome, name: str) -> str:
    return next((check.seen for check in outcome.checks if check.name == name), MISSING)
