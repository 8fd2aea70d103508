"""`webhook set|info|delete`: tells Telegram where to deliver updates."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import click
import msgspec

from actors.ports import TelegramError
from app.cli.running import fail, run, settings
from app.settings import Settings
from app.telegram.client import TelegramClient

T = TypeVar("T")


@click.group()
def webhook() -> None:
    """Tell Telegram where to deliver updates."""


@webhook.command("set")
@click.argument("url")
@click.option("--drop-pending", is_flag=True, help="Forget what Telegram still holds for the bot.")
def set_webhook(url: str, drop_pending: bool) -> None:
    """Deliver to URL, the service's public address (the route is added to it)."""
    if not urlsplit(url).hostname:
        raise click.BadParameter(
            "give the service's public address, such as https://bot.example.org", param_hint="URL"
        )
    if not url.startswith("https://"):
        click.echo("firstlight: Telegram delivers to https:// addresses only", err=True)
    target = url.rstrip("/")
    target = target if target.endswith("/webhook/telegram") else f"{target}/webhook/telegram"
    chosen = settings()
    secret = chosen.require_webhook_secret().reveal()
    _call(chosen, lambda client: client.set_webhook(target, secret, drop_pending=drop_pending))
    click.echo(f"Telegram delivers to {target}")


@webhook.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def info(as_json: bool) -> None:
    """Show what Telegram knows of the webhook."""
    known = msgspec.to_builtins(_call(settings(), lambda client: client.get_webhook_info()))
    if as_json:
        return click.echo(msgspec.json.encode(known))
    for name, value in known.items():
        click.echo(f"{name}: {value}")
    return None


@webhook.command()
@click.option("--drop-pending", is_flag=True, help="Forget what Telegram still holds for the bot.")
def delete(drop_pending: bool) -> None:
    """Deliver nowhere, so that `firstlight poll` can fetch."""
    _call(settings(), lambda client: client.delete_webhook(drop_pending=drop_pending))
    click.echo("Telegram delivers nowhere")


def _call(chosen: Settings, work: Callable[[TelegramClient], Awaitable[T]]) -> T:
    async def call() -> T:
        client = TelegramClient(chosen.require_telegram().reveal(), chosen.telegram_api_url)
        try:
            return await work(client)
        except TelegramError as error:
            fail(f"Telegram: {error}")
        finally:
            await client.close()

    return run(call())
