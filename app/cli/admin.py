"""`warm` and `stats`: what an operator asks of a running service, by its /admin routes."""

from typing import Any

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.table import Table

from app.cli.running import fail, run, service_url, settings
from app.settings import Settings
from app.web.admin import WARM_DEADLINE_S

ANSWER_S = WARM_DEADLINE_S + 10.0  # the service's own deadline comes first, with a reason


@click.command()
@click.argument("actor", default="all")
@click.option("--shard", type=click.IntRange(min=0), help="One shard of SessionCacheActor.")
@click.option("--force", is_flag=True, help="Start afresh, also while a pass is running.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--url", help="The service's address (default http://FIRSTLIGHT_HOST:FIRSTLIGHT_PORT).")
def warm(actor: str, shard: int | None, force: bool, as_json: bool, url: str | None) -> None:
    """Warm ACTOR (or all) of the running service, and show the reports."""
    wish = {"actor": actor, "force": force} | ({} if shard is None else {"shard": shard})
    answer = run(_ask(settings(), url, "POST", "/admin/warm", wish))
    if as_json:
        return click.echo(msgspec.json.encode(answer))
    table = Table("actor", "status", "source", "requested", "loaded", "failed", "store reads", "ms")
    for report in answer["reports"]:
        table.add_row(*map(str, _report_row(report)))
    return Console().print(table)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--url", help="The service's address (default http://FIRSTLIGHT_HOST:FIRSTLIGHT_PORT).")
def stats(as_json: bool, url: str | None) -> None:
    """Show what the actors of the running service tell of themselves."""
    answer = run(_ask(settings(), url, "GET", "/admin/stats", None))
    if as_json:
        return click.echo(msgspec.json.encode(answer))
    table = Table("actor", "warm", "entries", "bytes", "hits", "misses", "store reads", "store writes")
    for name, each in answer["actors"].items():
        table.add_row(name, *map(str, _stats_row(each)))
    return Console().print(table)


async def _ask(
    chosen: Settings, base: str | None, method: str, path: str, body: dict[str, Any] | None
) -> dict[str, Any]:
    token = chosen.require_admin_token().reveal()
    url = f"{(base or service_url(chosen)).rstrip('/')}{path}"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session,
            session.request(method, url, headers=headers, json=body) as answer,
        ):
            text = await answer.text()
            if answer.status != 200:
                fail(f"{url} answered {answer.status}: {text[:200].strip() or 'nothing'}")
            document: dict[str, Any] = msgspec.json.decode(text)
            return document
    except TimeoutError:
        fail(f"{url} did not answer within {ANSWER_S:g} s")
    except (aiohttp.ClientError, msgspec.DecodeError) as error:
        fail(f"{url} can't be asked: {error}; is `firstlight serve` running there?")


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
