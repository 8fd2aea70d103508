"""What `firstlight doctor` finds at Telegram and of the actors."""

import pytest

from actors.ports import TokenRefused
from app.doctor import Findings, examine, with_actors
from app.doctor_webhook import RECENT_S, webhook_state
from app.telegram.addressing import BotIdentity
from app.telegram.client import TelegramClient
from app.telegram.methods import WebhookInfo
from app.telegram.simulator import TelegramSimulator
from tests.app.doctor.kit import Patient, bot_client
from tests.commands import free_port
from tests.waiting import until

NOW = 1_800_000_000.0


async def test_a_webhook_without_trouble_is_shown(healthy: Patient, telegram: TelegramSimulator) -> None:
    """Set or not, nothing waits and nothing failed."""
    async with bot_client(telegram.token, telegram.url) as client:
        polled = await examine(healthy.database, client)
        await client.set_webhook(f"http://127.0.0.1:{free_port()}/webhook/telegram", "s")
        served = await examine(healthy.database, client)
    assert polled.webhook is not None
    assert served.webhook is not None
    assert [(True, ""), (True, "")] == [
        (each.ok, each.webhook.problem) for each in (polled, served) if each.webhook
    ]
    assert ["", "/webhook/telegram"] == [polled.webhook.url, served.webhook.url[-17:]]


async def test_updates_that_telegram_can_not_deliver_are_a_finding(
    healthy: Patient, telegram: TelegramSimulator
) -> None:
    """With Telegram's own words for it."""
    async with bot_client(telegram.token, telegram.url) as client:
        await client.set_webhook(f"http://127.0.0.1:{free_port()}/webhook/telegram", "s")
        telegram.say(5, "hello")
        await until(lambda: telegram.updates.last_error)
        found = await examine(healthy.database, client)
    assert found.webhook is not None
    assert (False, 1) == (found.ok, found.webhook.pending)
    assert "Telegram can't deliver: Connection refused" == found.webhook.problem


@pytest.mark.parametrize(
    ("url", "pending", "age_s", "message", "problem"),
    [
        ("https://bot", 1, 10.0, "Timeout", "Telegram can't deliver: Timeout"),
        ("https://bot", 1, RECENT_S - 60.0, "Timeout", "Telegram can't deliver: Timeout"),
        ("https://bot", 0, 10.0, "Timeout", ""),
        ("https://bot", 1, RECENT_S + 60.0, "Timeout", ""),
        ("https://bot", 1, 10.0, "", ""),
        ("", 1, 10.0, "Timeout", ""),
    ],
)
async def test_an_error_is_trouble_while_it_keeps_updates_back(
    url: str, pending: int, age_s: float, message: str, problem: str
) -> None:
    """What failed once, long ago or for nothing that waits, is history: Telegram remembers it for ever."""

    class Remembers(TelegramClient):
        async def get_webhook_info(self) -> WebhookInfo:
            return WebhookInfo(
                url=url,
                pending_update_count=pending,
                last_error_date=int(NOW - age_s),
                last_error_message=message,
            )

    state = await webhook_state(Remembers("42:canary"), NOW)
    assert state is not None
    assert (problem, pending) == (state.problem, state.pending)
    assert age_s == pytest.approx(state.last_error_age_s, abs=1.0)


async def test_a_telegram_that_is_away_says_nothing_of_the_store(healthy: Patient) -> None:
    """The store is examined all the same, its health is not Telegram's, and the token is not told."""
    async with bot_client("42:canary", f"http://127.0.0.1:{free_port()}") as client:
        found = await examine(healthy.database, client)
    assert found.webhook is not None
    assert (True, "") == (found.ok, found.webhook.problem)
    assert found.webhook.unasked.startswith("Telegram can't be asked")
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"degraded": ""}, {}),
        ({"degraded": "StoreDenied: no"}, {"ChatAgent": "StoreDenied: no"}),
        ({"unreachable": "unreachable: gone"}, {"ChatAgent": "unreachable: gone"}),
    ],
)
def test_an_actor_that_is_away_or_degraded_is_a_finding(told: dict[str, str], wrong: dict[str, str]) -> None:
    """Of a deployed app the store alone does not tell whether anybody works on it."""
    found = with_actors(Findings(ok=True), {"ChatAgent": told, "SkillRegistryActor": {"degraded": ""}})
    assert (not wrong, wrong) == (found.ok, found.actors)
    assert not with_actors(Findings(ok=False), {}).ok


async def test_a_token_that_telegram_refuses_is_a_finding(
    healthy: Patient, telegram: TelegramSimulator
) -> None:
    """Only an operator can mend it; the token itself is not told."""
    async with bot_client("42:canary", telegram.url) as client:
        found = await examine(healthy.database, client)
    assert found.webhook is not None
    assert (False, "") == (found.ok, found.webhook.unasked)
    assert "Telegram refuses TELEGRAM_BOT_TOKEN (getMe: 401 Unauthorized)" == found.webhook.problem
    assert "canary" not in repr(found)


async def test_a_method_that_is_not_there_says_nothing_of_the_token(healthy: Patient) -> None:
    """Telegram answers 404 to a wrong token as well; `getMe` tells the two apart."""

    class WithoutWebhooks(TelegramClient):
        async def get_webhook_info(self) -> WebhookInfo:
            raise TokenRefused("getWebhookInfo: 404 Not Found")

        async def get_me(self) -> BotIdentity:
            return BotIdentity(42, "bot")

    found = await examine(healthy.database, WithoutWebhooks("42:canary"))
    assert found.webhook is not None
    assert (True, "Telegram can't be asked: getWebhookInfo: 404 Not Found") == (
        found.ok,
        found.webhook.unasked,
    )
