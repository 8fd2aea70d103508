"""`doctor`: says whether anything was lost, on the store itself, the service running or not."""

import sys

import click
import msgspec

from actors.ports import StoreError
from app.cli.running import fail, run, settings
from app.doctor import Findings, examine
from app.settings import Settings
from app.store.database import choose


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def doctor(as_json: bool) -> None:
    """Look for updates without an end; exits with 1 when something is lost or stuck."""
    findings = run(_examine(settings()))
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        _tell(findings)
    sys.exit(0 if findings.ok else 1)


async def _examine(chosen: Settings) -> Findings:
    database = choose(chosen)
    try:
        await database.open()
        return await examine(database)
    except StoreError as error:
        fail(f"the store can't be read: {error}")
    finally:
        await database.close()


def _tell(findings: Findings) -> None:
    click.echo("nothing is lost" if findings.ok else "SOMETHING IS WRONG")
    for name in ("lost", "stuck", "unknown", "dead"):
        ids = getattr(findings, name)
        click.echo(f"{name}: {len(ids)}" + (f" ({', '.join(map(str, ids[:20]))})" if ids else ""))
