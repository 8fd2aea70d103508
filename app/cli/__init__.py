"""The `firstlight` command: exit codes 0 done, 1 the thing asked for failed, 2 wrong usage."""

import sys

import click
from click.exceptions import NoArgsIsHelpError

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
    """Run the command; wrong usage and a wrong setting are one line each, never a traceback."""
    try:
        sys.exit(cli.main(prog_name="firstlight", standalone_mode=False))
    except NoArgsIsHelpError as error:
        error.show()  # the help, as it was asked for by leaving out what to do
        sys.exit(error.exit_code)
    except click.UsageError as error:
        asked = error.ctx.command_path if error.ctx else "firstlight"
        _say(f"{_line(error)} (see `{asked} --help`)")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _say(_line(error))
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)  # Ctrl-C before or after the command's own loop ran
    except SettingsError as error:
        _say(str(error))
        sys.exit(1)


def _line(error: click.ClickException) -> str:
    return " ".join(error.format_message().split()).rstrip(".")


def _say(reason: str) -> None:
    click.echo(f"firstlight: {reason}", err=True)
