"""`up`: a local control plane with the app on it, told of as it lives, until Ctrl-C."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from app.cli.running import fail, run, stop_signal
from app.lazily import load
from app.observability import configure_logging
from app.scale.desired import FILE
from app.settings import ours
from app.targets.note import FOLDER, UnreadableNote, is_alive, read_note
from app.up.deploying import DeployFailed, find_app_file
from app.up.env_file import BadEnvFile, read_env_file
from app.up.following import follow
from app.up.telling import Telling

if TYPE_CHECKING:
    from app.up.session import Session

ENV_FILE = Path(".env")


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Of the webhook (default FIRSTLIGHT_PORT, 8080).")
@click.option("--watch", is_flag=True, help="Deploy again when a source file changes.")
@click.option("--store", help="Such as sqlite:///PATH (default a file in .firstlight).")
@click.option(
    "--env-file", type=click.Path(path_type=Path), help="NAME=value lines (default .env, if there is one)."
)
def up(port: int | None, watch: bool, store: str | None, env_file: Path | None) -> None:
    """Run a local control plane and deploy the app to it with Modal's own client; no account is needed.

    Without TELEGRAM_BOT_TOKEN Telegram is simulated, with a chat page in the browser.
    """
    configure_logging("error")  # what containers have to say is told, and an end kills some on purpose
    try:
        given = _given(env_file) | ({"FIRSTLIGHT_STORE": store} if store else {})
        app_file = find_app_file()
    except (BadEnvFile, DeployFailed) as error:
        fail(str(error))
    sys.exit(run(_up(given, app_file, port, watch=watch)))


def _given(env_file: Path | None) -> dict[str, str]:
    """The settings of the file under those of the environment."""
    file = env_file or (ENV_FILE if ENV_FILE.is_file() else None)
    return (ours(read_env_file(file)) if file else {}) | ours()


async def _up(given: dict[str, str], app_file: Path, port: int | None, *, watch: bool) -> int:
    await _refuse_a_second()
    stopped, telling = stop_signal(), Telling(Console(highlight=False))
    made = load("app.up.session:Session")  # Modal's client and the plane: 0.4 s that other commands save
    session: Session = made(given, app_file, port, listener=telling.printed)
    try:
        await session.start()
        first = await telling.deployed(session.deploy)
        if first is None:
            return 1
        telling.everything(first, app_file)
        await _live(session, telling, stopped, app_file.parent if watch else None)
        telling.ending()
    except OSError as error:
        fail(f"can't listen on port {session.port}: {error.strerror or error}; choose another --port")
    finally:
        await session.stop()
    return 0


async def _live(session: "Session", telling: Telling, stopped: asyncio.Event, watched: Path | None) -> None:
    async def redeploy(paths: tuple[str, ...]) -> None:
        telling.changed(paths)
        if set(paths) == {str(FILE)}:
            await telling.scaled(session.scale)
        else:
            await telling.deployed(session.deploy)

    work = [follow(session.containers, telling.container, stopped)]
    if watched is not None:
        work.append(load("app.up.watching:watch")(watched, stopped, redeploy))
    await asyncio.gather(*work)


async def _refuse_a_second() -> None:
    """Two planes of one folder would take each other's note."""
    try:
        note = read_note(FOLDER)
    except UnreadableNote as error:
        fail(str(error))
    if note is not None and await is_alive(note):
        fail(f"a plane of this folder runs already, as process {note.pid}")
