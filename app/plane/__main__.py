"""`python -m app.plane`: run a plane until Ctrl-C, and say how to reach it."""

import argparse
import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn

import structlog
import uvloop

from app.plane.logs import Line
from app.plane.options import Options
from app.plane.plane import Plane
from app.plane.secrets import read_secrets


def main() -> None:
    """Read the arguments and run."""
    parser = _Parser(prog="python -m app.plane", description=__doc__)
    arguments = _with_arguments(parser).parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is the shell's
    try:
        secrets = read_secrets(arguments.secrets) if arguments.secrets else {}
        secrets |= {name: _set_here(keys) for name, keys in arguments.secret}
        uvloop.run(_run(arguments.folder, Options(port=arguments.port, secrets=secrets)))
    except OSError as error:
        parser.exit(1, f"{parser.prog}: {error.filename or 'listening'}: {error.strerror or error}\n")
    except ValueError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


async def _run(folder: Path, options: Options) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with Plane(folder, options, _show) as plane:
        for name, value in plane.environment().items():
            print(f"export {name}={shlex.quote(value)}", flush=True)  # noqa: T201 - what a shell can read
        await stopping.wait()
        stopping.clear()
        await _either(plane.end_apps(options.grace_s), stopping.wait())  # a second signal does not wait


async def _either(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    _, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in late:
        task.cancel()


def _show(line: Line) -> None:
    for text in line.text.splitlines():
        print(f"[{line.function}] {text}", file=sys.stderr, flush=True)  # noqa: T201 - the containers' own output


class _Parser(argparse.ArgumentParser):
    """Says wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def _with_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--folder", type=Path, default=Path(".firstlight-plane"), help="where code and volumes are kept"
    )
    parser.add_argument("--port", type=_port, default=0, help="where clients connect on loopback")
    parser.add_argument("--secrets", type=Path, help="a file of [name] and KEY=value lines")
    parser.add_argument(
        "--secret",
        action="append",
        type=_secret,
        default=[],
        metavar="NAME=KEY,KEY",
        help="a secret of variables that are set here",
    )
    return parser


def _port(given: str) -> int:
    if not given.isascii() or not given.isdecimal() or int(given[:9]) > 65535:
        raise argparse.ArgumentTypeError(f"{given[:60]!r} is no port: give a number from 0 to 65535")
    return int(given)


def _secret(given: str) -> tuple[str, tuple[str, ...]]:
    name, equals, keys = given.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{given[:60]!r} is no secret: write NAME=KEY,KEY")
    return name, tuple(keys.split(","))


def _set_here(keys: Sequence[str]) -> dict[str, str]:
    return {key: os.environ[key] for key in keys if key in os.environ}


if __name__ == "__main__":
    main()
