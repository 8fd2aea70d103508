"""The `firstlight` command: exit codes 0 done, 1 the thing asked for failed, 2 wrong usage."""

import sys

import click

from app.cli.admin import stats, warm
from app.cli.chaos import chaos
from app.cli.doctor import doctor
from app.cli.replay import replay
from app.cli.run import demo, dev, poll, serve
from app.cli.scale import scale
from app.cli.skills import skills
from app.cli.smoke import smoke
from app.cli.up import up
from app.cli.webhook import webhook
from app.settings import SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="firstlight")
def cli() -> None:
    """A Telegram chat agent whose first reply after a cold start is as fast as its thousandth."""


for command in (
    dev,
    up,
    serve,
    poll,
    demo,
    warm,
    stats,
    doctor,
    scale,
    replay,
    skills,
    webhook,
    smoke,
    chaos,
):
    cli.add_command(command)


def main() -> None:
    """Run the command; a wrong setting is one line, never a traceback."""
    try:
        cli()
    except SettingsError as error:
        click.echo(f"firstlight: {error}", err=True)
        sys.exit(1)
