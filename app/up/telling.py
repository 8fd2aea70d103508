"""What `firstlight up` prints: the deploys, where everything is, how to call it, and the containers."""

import shlex
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from app.scale.desired import BadFile
from app.scale.pools import Change, PoolsRefused
from app.targets.refusals import ModalRefused
from app.up.container_lines import worth_telling
from app.up.deploying import DeployFailed

if TYPE_CHECKING:
    from app.plane.logs import Line
    from app.up.session import Up

FAILURES: Final = (DeployFailed, ModalRefused, PoolsRefused, BadFile)
"""Why a deploy may not come about; each says so in a line or a few."""
STYLES: Final[Mapping[str, str]] = {"ready": "green", "gone": "dim", "starting": "yellow"}
SHOWN: Final = 5  # changed files


class Telling:
    """Prints to one console; JSON and logs go elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def deployed(self, deploy: Callable[[], Awaitable["Up"]]) -> "Up | None":
        """Deploy and say so; a failure is told, and gives None."""
        try:
            with self._console.status("deploying ..."):
                up = await deploy()
        except FAILURES as error:
            self._say(f"not deployed: {error}", "red")
            return None
        self._say(f"deployed in {up.deployed.seconds:.1f} s", "green")
        self._changes(up.scaled)
        return up

    async def scaled(self, scale: Callable[[], Awaitable[Sequence[Change]]]) -> None:
        """Scale and say so; a failure is told."""
        try:
            self._changes(await scale())
        except FAILURES as error:
            self._say(f"not scaled: {error}", "red")

    def everything(self, up: "Up", app_file: Path) -> None:
        """Where it is and how to call it."""
        place = up.place
        lines = "\n".join(_exports(up))
        self._print(
            f"""
Webhook      {up.webhook}
{_people(up)}
Ask it with  firstlight warm | stats | doctor | scale show     (from this folder)
or, in another shell, with Modal's own client:

{lines}
    python -c 'import modal, msgspec; shard = modal.Cls.from_name("{place.app_name}", "SessionCacheActor")(shard=0); \\
        print(msgspec.msgpack.decode(shard.warm.remote()))'
    modal deploy {app_file.name}

Containers (Ctrl-C ends everything):
"""
        )

    def container(self, name: str, pool: str, state: str) -> None:
        """A container is in another state."""
        self._say(f"{_short(name):<8} {pool:<20} {state}", STYLES.get(state, ""))

    def printed(self, line: "Line") -> None:
        """A container printed; what is worth it is shown."""
        for each in worth_telling(line.text):
            self._say(f"{_short(line.container_id):<8} {line.function:<20} {each}", "yellow")

    def changed(self, paths: tuple[str, ...]) -> None:
        """Files changed, so that it is deployed again."""
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        self._say(f"changed: {', '.join(paths[:SHOWN])}{more}")

    def ending(self) -> None:
        """Everything is about to end."""
        self._say("ending ...")

    def _changes(self, changes: Sequence[Change]) -> None:
        for each in changes:
            self._say(f"{each.pool} {each.key} is now {each.wanted}")

    def _say(self, text: str, style: str = "") -> None:
        self._print(f"{time.strftime('%H:%M:%S')} {text}", style)

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style or None, markup=False, soft_wrap=True)


# ---------------------------------------------------------------- helpers


def _short(container: str) -> str:
    """`ta-28` of `ta-0000000028`, which `modal container` takes in full only."""
    kind, _, number = container.partition("-")
    return f"{kind}-{number.lstrip('0')}"


def _exports(up: "Up") -> list[str]:
    """Also what a deploy by hand has to know, as `up`'s own does; a folder's name may hold a space."""
    values = {**up.environment, **up.deploying}
    exports = [f"    export {name}={shlex.quote(value)}" for name, value in values.items()]
    return [f"    PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH", *exports]


def _people(up: "Up") -> str:
    if up.chat_page:
        return f"Chat page    {up.chat_page}     (a simulated Telegram)"
    return "Telegram     real: give this address a public name (a tunnel), then: firstlight webhook set https://NAME"
