"""What `firstlight up` prints, so that a person can go on from it."""

import io
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from app.plane.logs import Line
from app.scale.desired import BadFile
from app.scale.pools import Change
from app.targets.place import Place
from app.targets.refusals import ModalRefused
from app.up.deploying import Deployed, DeployFailed
from app.up.session import Up
from app.up.telling import Telling
from tests.app.targets.test_note import note

PLANE = note("http://127.0.0.1:7")
SCALED = Change(pool="ChatAgent", key="min_containers", now=1, wanted=2)


def up(chat_page: str = "") -> Up:
    """What a deploy gives."""
    return Up(
        deployed=Deployed(seconds=1.23, output=""),
        place=Place(kind="plane", app_name="some-app", shards=1, plane=PLANE),
        webhook="http://127.0.0.1:8/webhook/telegram",
        environment=PLANE.environment,
        scaled=(SCALED,),
        chat_page=chat_page,
    )


def telling() -> tuple[Telling, Callable[[], str]]:
    """One that prints nowhere, and what it has printed."""
    page = io.StringIO()
    return Telling(Console(file=page, width=80)), page.getvalue


async def _gives(value: Up) -> Up:
    return value


def _raises(error: Exception) -> Callable[[], Awaitable[Up]]:
    async def deploy() -> Up:
        raise error

    return deploy


async def test_a_deploy_is_told_with_what_it_scaled() -> None:
    """In a line each."""
    teller, printed = telling()
    assert up() == await teller.deployed(lambda: _gives(up()))
    assert "deployed in 1.2 s" in printed()
    assert "ChatAgent min_containers is now 2" in printed()


@pytest.mark.parametrize(
    "error", [DeployFailed("[red]no"), ModalRefused("gone"), BadFile("scaling.toml: wrong")]
)
async def test_a_deploy_that_fails_is_told_as_it_is(error: Exception) -> None:
    """The plane goes on with what it has; what others wrote is no markup."""
    teller, printed = telling()
    assert await teller.deployed(_raises(error)) is None
    assert f"not deployed: {error}" in printed()


def test_everything_can_be_pasted() -> None:
    """No line is broken at the screen's width."""
    teller, printed = telling()
    teller.everything(up("http://127.0.0.1:9/"), Path("modal_app.py"))
    lines = [f"    export {name}={value}" for name, value in PLANE.environment.items()]
    assert lines == [line for line in printed().splitlines() if line.startswith("    export")]
    assert 'modal.Cls.from_name("some-app", "SessionCacheActor")(shard=0)' in printed()
    assert ("Chat page    http://127.0.0.1:9/", "Webhook      http://127.0.0.1:8/webhook/telegram") == tuple(
        sorted(
            line.split("     (")[0] for line in printed().splitlines() if line.startswith(("Chat", "Webhook"))
        )
    )


def test_a_folder_with_a_space_can_be_pasted() -> None:
    """A shell reads back the very values, also those that a deploy by hand carries."""
    teller, printed = telling()
    values = {"MODAL_CONFIG_PATH": "/my bots/it's/no-modal.toml", "TELEGRAM_API_URL": "http://127.0.0.1:7"}
    config, api = values.items()
    teller.everything(
        msgspec.structs.replace(up(), environment=dict([config]), deploying=dict([api])), Path("modal_app.py")
    )
    words = [shlex.split(line) for line in printed().splitlines() if line.startswith("    export")]
    assert [["export", f"{name}={value}"] for name, value in values.items()] == words


def test_a_real_bots_webhook_needs_a_public_name() -> None:
    """Telegram does not reach this machine's loopback."""
    teller, printed = telling()
    teller.everything(up(), Path("modal_app.py"))
    assert "firstlight webhook set https://NAME" in printed()


def test_containers_and_changes_are_told_shortly() -> None:
    """Without the zeros of their names; and of many files, some."""
    teller, printed = telling()
    teller.container("ta-00000028", "ChatAgent", "ready")
    teller.changed(tuple(f"app/{number}.py" for number in range(7)))
    line = '{"level":"warning","event":"late"}\n{"level":"info","event":"well"}'
    teller.printed(Line(1, "ap-1", "fu-1", "ChatAgent", "ta-00000028", 2, 0.0, line))
    assert [
        "ta-28    ChatAgent            ready",
        "changed: app/0.py, app/1.py, app/2.py, app/3.py, app/4.py and 2 more",
        "ta-28    ChatAgent            warning: late",
    ] == [shown[9:] for shown in printed().splitlines()]
