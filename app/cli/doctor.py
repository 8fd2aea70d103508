"""`doctor`: says whether anything was lost, on the store itself, whatever works on it running or not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console
from rich.table import Table

from actors.stores import StoreError
from app import dead_letters
from app.cli.running import fail, run, settings
from app.cli.targets import place_of, plane_runs, target_option
from app.doctor import Findings, examine, with_actors
from app.doctor_webhook import WebhookState
from app.settings import DEFAULT_STORE, Settings, SqliteAddress, load
from app.store.database import Database, choose
from app.targets.asking import NotAnswered, asking
from app.targets.place import Place
from app.telegram.client import TelegramClient

SHOWN = 20  # ids in a cell; --lost and --json give them all


@click.command()
@click.option("--lost", is_flag=True, help="List each update and lease found, with its chat, age and reason.")
@click.option("--replay-dead", is_flag=True, help="Give dead-lettered updates another turn first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@target_option
def doctor(lost: bool, replay_dead: bool, as_json: bool, target: str | None) -> None:
    """Look for updates without an end; exits with 1 when something is lost, stuck, contradictory, missing or refused.

    Looks into the store: FIRSTLIGHT_STORE, or that of this folder's plane. Of a plane and of Modal the actors
    are asked as well.
    """
    loaded = settings()
    place = run(_place(loaded, target))
    chosen = _with_store_of(place, loaded)
    _insist_on_a_store(chosen, place)
    if replay_dead:
        run(_replay(chosen))
    findings = run(_examine(chosen))
    if place.kind != "local":
        findings = run(_ask_actors(place, chosen, findings))
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        _tell(findings, Console(), listed=lost)
    if not findings.ok:
        fail(f"something is wrong: {_why(findings)}")


async def _place(chosen: Settings, target: str | None) -> Place:
    """The plane of this folder if it runs and no other store is named; else nothing but the store itself."""
    if target is None and (chosen.store != DEFAULT_STORE or not await plane_runs()):
        target = "local"
    return await place_of(chosen, target)


def _with_store_of(place: Place, chosen: Settings) -> Settings:
    if place.plane is None:
        return chosen
    return msgspec.structs.replace(chosen, store=load({"FIRSTLIGHT_STORE": place.plane.store}).store)


async def _ask_actors(place: Place, chosen: Settings, findings: Findings) -> Findings:
    try:
        answer = await asking(place, chosen).stats()
    except NotAnswered as error:
        fail(str(error))
    return with_actors(findings, answer["actors"])


async def _examine(chosen: Settings) -> Findings:
    token = chosen.telegram_token
    telegram = TelegramClient(token.reveal(), chosen.telegram_api_url) if token else None
    try:
        async with _opened(chosen, read_only=True) as database:
            return await examine(database, telegram)
    finally:
        if telegram is not None:
            await telegram.close()


async def _replay(chosen: Settings) -> None:
    async with _opened(chosen, read_only=True):
        pass  # a file that the service should bring up to date first is refused before anything is written
    async with _opened(chosen, read_only=False) as database:
        outcome = await dead_letters.replay_dead(database)
    for update in outcome.reopened:
        again = dead_letters.id_of_replay(update)
        click.echo(f"update {update} waits for another turn, as {again}", err=True)
    for name, why in outcome.left.items():
        click.echo(f"update {name} stays as it is: it {why}", err=True)


@asynccontextmanager
async def _opened(chosen: Settings, *, read_only: bool) -> AsyncIterator[Database]:
    database = choose(chosen, read_only=read_only)
    try:
        await database.open()
        yield database
    except StoreError as error:
        fail(f"the store can't be read: {error}")
    finally:
        await database.close()


def _insist_on_a_store(chosen: Settings, place: Place) -> None:
    """A mistyped path or an empty file would become a new store, in which nothing is lost; Modal works on no file."""
    address = chosen.require_store()
    if place.kind == "modal" and isinstance(address, SqliteAddress):
        fail(
            "set FIRSTLIGHT_STORE to firestore://PROJECT, as in the secret firstlight-store: doctor looks into it"
        )
    if isinstance(address, SqliteAddress) and not (address.path.exists() and address.path.stat().st_size):
        fail(f"there is no store at {address.path}: set FIRSTLIGHT_STORE to the service's own")


# ---------------------------------------------------------------- for people


def _tell(findings: Findings, console: Console, *, listed: bool) -> None:
    console.print("nothing is lost" if findings.ok else "SOMETHING IS WRONG")
    table = Table("finding", "count", "update ids")
    for name in ("lost", "stuck", "waiting", "unknown", "dead"):
        ids = getattr(findings, name)
        table.add_row(name, str(len(ids)), _cut(ids))
    console.print(table)
    for wait in findings.waits:
        until = datetime.fromtimestamp(wait.until, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        console.print(f"chat {wait.chat} waits until {until} before update {wait.update} is sent again")
    for odd in findings.contradictions:
        console.print(f"update {odd.update} of chat {odd.chat} ({odd.state}) {odd.problem}", markup=False)
    for unread in findings.set_aside:
        console.print(f"{unread.file} can't be read: {unread.reason}", markup=False)
    for index in findings.missing_indexes:
        console.print(f"missing index: {index}", markup=False)
    for state in findings.unchecked:
        console.print(f"only the first {findings.checked[state]} updates in state {state} were looked at")
    for label, why in (findings.actors or {}).items():
        console.print(f"{label}: {why}", markup=False)
    if findings.webhook is not None:
        console.print(_webhook(findings.webhook), markup=False)
    if listed:
        _list(findings, console)


def _why(findings: Findings) -> str:
    counted = {
        "lost": len(findings.lost),
        "stuck": len(findings.stuck),
        "contradictory": len(findings.contradictions),
        "unreadable": len(findings.set_aside),
        "without their index": len(findings.missing_indexes),
        "actors in trouble": len(findings.actors or ()),
    }
    webhook = findings.webhook.problem if findings.webhook else ""
    said = [f"{count} {name}" for name, count in counted.items() if count]
    return ", ".join((*said, webhook) if webhook else said)


def _cut(ids: tuple[int, ...]) -> str:
    more = len(ids) - SHOWN
    return ", ".join(map(str, ids[:SHOWN])) + (f" and {more} more" if more > 0 else "")


def _webhook(state: WebhookState) -> str:
    if state.unasked:
        return f"webhook: not known, {state.unasked}"
    waiting = f"{state.pending} updates wait at Telegram"
    if state.problem:
        return f"webhook: {state.problem}" + (f"; {waiting}" if state.url else "")
    return f"webhook: {state.url or 'not set, so that updates are polled for'}; {waiting}"


def _list(findings: Findings, console: Console) -> None:
    updates = Table("update", "chat", "state", "accepted", "reason", title="updates")
    for each in findings.updates:
        reason = each.reason or "-"
        updates.add_row(str(each.update), str(each.chat), each.state, f"{each.age_s:.0f} s ago", reason)
    leases = Table("chat", "update", "owner", "attempt", "renewed", title="stuck leases")
    for lease in findings.stuck_leases:
        renewed = f"{lease.age_s:.0f} s ago"
        leases.add_row(str(lease.chat), lease.update, lease.owner, str(lease.attempt), renewed)
    for table in (updates, leases):
        if table.row_count:
            console.print(table)
