"""`python -m app.plane`: run a plane until Ctrl-C, and say how to reach it."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog
import uvloop

from app.plane.logs import Line
from app.plane.options import Options
from app.plane.plane import Plane
from app.plane.secrets import read_secrets


def main() -> None:
    """Read the arguments and run."""
    arguments = _parser().parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is the shell's
    try:
        secrets = read_secrets(arguments.secrets) if arguments.secrets else {}
        for given in arguments.secret:
            name, variables = _from_environment(given)
            secrets[name] = variables
        uvloop.run(_run(arguments.folder, Options(port=arguments.port, secrets=secrets)))
    except (OSError, ValueError) as error:
        sys.exit(str(error))


async def _run(folder: Path, options: Options) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with Plane(folder, options, _show) as plane:
        for name, value in plane.environment().items():
            print(f"export {name}={value}", flush=True)  # noqa: T201 - what a shell can read
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.plane", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path(".firstlight-plane"), help="where code and volumes are kept"
    )
    parser.add_argument("--port", type=int, default=0, help="where clients connect on loopback")
    parser.add_argument("--secrets", type=Path, help="a file of [name] and KEY=value lines")
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME=KEY,KEY",
        help="a secret of variables that are set here",
    )
    return parser


def _from_environment(given: str) -> tuple[str, dict[str, str]]:
    name, equals, keys = given.partition("=")
    if not equals:
        raise ValueError(f"--secret {given}: write NAME=KEY,KEY")
    return name, {key: os.environ[key] for key in keys.split(",") if key in os.environ}


if __name__ == "__main__":
    main()
