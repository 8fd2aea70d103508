"""`replay`: recorded updates through the webhook of a running service again."""

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.cli.running import fail, run, settings
from app.cli.targets import check_address
from app.recording import Malformed, Recorded, read_recording
from app.replay import Replay, Replayed
from app.targets.place import service_url
from app.web.webhook import PATH


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", help="The service's address (default http://FIRSTLIGHT_HOST:FIRSTLIGHT_PORT).")
@click.option("--connections", type=click.IntRange(1, 100), default=32, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def replay(file: Path, url: str | None, connections: int, as_json: bool) -> None:
    """Post the updates in FILE (JSON lines or an array, also gzip) again; exits with 1 unless each got 200."""
    chosen = settings()
    secret = chosen.require_webhook_secret().reveal()
    try:
        replayed = _replay(file, _target(url or service_url(chosen)), secret, connections)
    except OSError as error:
        fail(f"{file} can't be read: {error.strerror or error}")
    if as_json:
        click.echo(msgspec.json.encode(replayed))
    else:
        _tell(replayed)
    if not replayed.ok:
        fail(f"not all of {file} was accepted: {_why(replayed)}")


def _replay(file: Path, url: str, secret: str, connections: int) -> Replayed:
    with _progress() as progress:
        task = progress.add_task("replay", total=file.stat().st_size)

        def step(update: Recorded) -> None:
            progress.update(task, completed=update.read)

        def name(malformed: Malformed) -> None:
            progress.console.print(f"{malformed.place}: {malformed.reason}", markup=False, soft_wrap=True)

        work = Replay(url, secret, connections=connections, on_step=step, on_malformed=name)
        return run(work.run(read_recording(file)))


def _progress() -> Progress:
    """A bar of the file's bytes on stderr; where that is no terminal, only the lines printed above it."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _target(url: str) -> str:
    check_address(url)
    url = url.rstrip("/")
    return url if url.endswith(PATH) else f"{url}{PATH}"


def _why(replayed: Replayed) -> str:
    refused = [f"{count} refused with {status}" for status, count in replayed.refused.items()]
    others = [
        f"{count} {name}"
        for name in ("unreachable", "unsent", "malformed")
        if (count := getattr(replayed, name))
    ]
    return ", ".join((*refused, *others))


def _tell(replayed: Replayed) -> None:
    table = Table("updates", "count")
    table.add_row("accepted", str(replayed.accepted))
    for status, count in replayed.refused.items():
        table.add_row(f"refused with {status}", str(count), style="red")
    for name in ("unreachable", "unsent", "malformed"):
        if count := getattr(replayed, name):
            table.add_row(name, str(count), style="red")
    table.add_row("attempts again", str(replayed.retried))
    table.add_row("seconds", f"{replayed.seconds:.1f}")
    Console().print(table)
