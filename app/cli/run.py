"""`dev`, `serve`, `poll` and `demo`: the commands that run the bot."""

import sys

import click
import msgspec
import structlog

from actors.stores import StoreDenied
from app.cli.running import fail, first_of, run, settings, stop_signal, unless
from app.cold_start import ColdStart
from app.demo.play import play
from app.dev import Dev
from app.observability import configure_logging
from app.polling import Polling
from app.runtime import settle_memory
from app.service import Service
from app.settings import Settings

log = structlog.get_logger(__name__)

Port = click.IntRange(0, 65535)


@click.command()
@click.option("--port", type=Port, help="Port of the console and the webhook (default 8080).")
def dev(port: int | None) -> None:
    """Run everything in one process, with a Telegram simulator and a console in the browser."""
    run(_dev(_at(settings(), port)))


@click.command()
@click.option("--port", type=Port, help="Port to listen on (default FIRSTLIGHT_PORT, 8080).")
def serve(port: int | None) -> None:
    """Run the webhook service in one process."""
    run(_serve(_at(settings(serves=True), port)))


@click.command()
def poll() -> None:
    """Fetch updates by long polling instead of a webhook; the same pipeline."""
    run(_poll(settings(serves=True)))


@click.command()
def demo() -> None:
    """Play a recorded conversation, restart cold, play on, and show that nothing was lost."""
    configure_logging("warning")
    sys.exit(0 if run(play()) else 1)


async def _dev(chosen: Settings) -> None:
    stopped, development = stop_signal(), Dev(chosen)
    try:
        await development.start()
    except OSError as error:
        fail(_taken(chosen, error))
    except StoreDenied as error:
        fail(_unusable(error))
    try:
        click.echo(f"Firstlight is at {development.url} - open it in a browser and chat. Ctrl-C ends it.")
        await stopped.wait()
    finally:
        await development.stop()


async def _serve(chosen: Settings) -> None:
    cold = ColdStart("serve")
    stopped, service = stop_signal(), Service(chosen, cold=cold)
    try:
        if await unless(stopped, service.start()):
            settle_memory()
            cold.ready()
            log.info("serving", webhook=f"{service.url}/webhook/telegram")
            await stopped.wait()
    except OSError as error:
        fail(_taken(chosen, error))
    except StoreDenied as error:
        fail(_unusable(error))
    finally:
        await service.stop()
        cold.tell()


async def _poll(chosen: Settings) -> None:
    stopped, polling = stop_signal(), Polling(chosen)
    try:
        if await unless(stopped, polling.start()):
            settle_memory()
            log.info("polling")
            await first_of(stopped, polling.refused)
    except StoreDenied as error:
        fail(_unusable(error))
    finally:
        await polling.stop()
    if polling.refused.is_set():
        fail("Telegram refuses TELEGRAM_BOT_TOKEN: get a valid one from @BotFather")


def _at(chosen: Settings, port: int | None) -> Settings:
    return chosen if port is None else msgspec.structs.replace(chosen, port=port)


def _taken(chosen: Settings, error: OSError) -> str:
    what = f"can't listen on {chosen.host}:{chosen.port}: {error.strerror or error}"
    return f"{what}; set FIRSTLIGHT_HOST or choose another --port"


def _unusable(error: StoreDenied) -> str:
    return f"FIRSTLIGHT_STORE can't be used: {error}"
