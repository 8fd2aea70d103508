"""The app itself on the plane: modal_app.py as it is deployed to Modal, in processes of this machine."""

from pathlib import Path

import aiohttp
import pytest

from app.plane import Options
from app.telegram.simulator import TelegramSimulator
from tests.app.plane.kit import ROOT, Deployed, running, until

pytestmark = pytest.mark.modal

ACTORS = ("SkillRegistryActor", "SessionCacheActor", "ChatAgent")
HOOK = "plane-webhook-secret"
CHAT = 41


def secrets(home: Path, telegram: TelegramSimulator) -> dict[str, dict[str, str]]:
    """What the app's three secrets hold here."""
    return {
        "firstlight-store": {"FIRSTLIGHT_STORE": f"sqlite:///{home}/firstlight.db"},
        "firstlight-telegram": {"TELEGRAM_BOT_TOKEN": telegram.token, "TELEGRAM_WEBHOOK_SECRET": HOOK},
        "firstlight-model": {"FIRSTLIGHT_MODEL": "offline"},
    }


async def warm(deployed: Deployed, name: str) -> bytes:
    """Ask one actor to warm, as an admin script does."""
    report: bytes = await deployed.cls(name, "claude-agents")().warm.remote.aio()
    return report


async def point_webhook(telegram: TelegramSimulator, url: str) -> None:
    """Tell Telegram where to deliver."""
    body = {"url": f"{url}/webhook/telegram", "secret_token": HOOK}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{telegram.url}/bot{telegram.token}/setWebhook", json=body) as answer,
    ):
        answer.raise_for_status()


async def test_the_first_webhook_is_answered_by_real_containers(tmp_path: Path) -> None:
    """Deployed as it is, the app takes an update in at its server's address and answers it at Telegram's."""
    async with TelegramSimulator() as telegram:
        options = Options(secrets=secrets(tmp_path, telegram))
        async with running(tmp_path, options) as deployed:
            await deployed.modal("deploy", str(ROOT / "modal_app.py"), TELEGRAM_API_URL=telegram.url)
            reports = [await warm(deployed, name) for name in ACTORS]
            await until(lambda: _ready(deployed, "TelegramGateway"))
            await point_webhook(telegram, deployed.plane.address("TelegramGateway"))
            telegram.say(CHAT, "hello")
            (reply, *_) = await telegram.wait_for_reply(CHAT, deadline_s=20.0)
            assert [True] * 3 == [bool(report) for report in reports]
            assert reply.text
            processes = {container.pid for container in deployed.plane.containers()}
            assert 4 == len(processes), deployed.plane.containers()


def _ready(deployed: Deployed, function: str) -> bool:
    return [container.state for container in deployed.plane.containers(function)] == ["ready"]
