"""Fault A10: a hundred connections, forty chats, and one of them writes far more than its mailbox takes."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from actors.meter import Meter
from actors.stores import UpdateRecord
from app.chaos.siege.crowd import ASK
from app.chaos.siege.evidence import against_transcript
from app.chaos.siege.judging import ALL, STATES
from app.chaos.siege.stage import PACE
from app.settings import load
from app.store.database import choose
from app.telegram.simulator import TelegramSimulator
from app.telegram.simulator_delivery import Outcome
from app.telegram.simulator_faults import CallFault
from app.telegram.simulator_methods import Webhook
from app.telegram.simulator_ports import ScaledClock
from app.telegram.simulator_webhook import webhook_delivery
from tests.commands import free_port
from tests.e2e.kit import SECRET, ended, serving

CONNECTIONS: Final = 100
CHATS: Final = range(1, 41)
REFUSAL: Final = "Wrong response from the webhook: 429 Too Many Requests"
RETRY_S: Final = 5.0
FLOODED: Final = 1
SLOW: Final = CallFault(kind="slow", method="sendMessage", seconds=12.0)
"""Three of our seconds: the flood is in by then."""


@pytest.mark.slow
@pytest.mark.timeout(120)  # a few seconds; the rest is for a busy machine
async def test_a_chat_over_its_bound_is_told_when_to_come_back(tmp_path: Path) -> None:
    """429 with Retry-After beyond a full mailbox; order is kept in every chat, and everything is answered."""
    await _flood(tmp_path, 150, 2)


@pytest.mark.soak
@pytest.mark.timeout(300)  # some 16 s
async def test_five_hundred_messages_of_one_chat_are_all_answered_in_order(tmp_path: Path) -> None:
    """The same with 500 of one chat and ten of each other one."""
    await _flood(tmp_path, 500, 10)


async def _flood(folder: Path, flood: int, others: int) -> None:
    """Have everybody write at once, wait until all is answered, and look at what came of it."""
    said = {chat: flood if chat == FLOODED else others for chat in CHATS}
    store = {"FIRSTLIGHT_STORE": f"sqlite:///{folder / 'flood.db'}"}
    refusals: Counter[tuple[str, float]] = Counter()
    port = free_port()
    async with TelegramSimulator(clock=ScaledClock(PACE)) as telegram, aiohttp.ClientSession() as http:
        post = webhook_delivery(
            http, Webhook(url=f"http://127.0.0.1:{port}/webhook/telegram", secret_token=SECRET)
        )

        async def deliver(body: bytes) -> Outcome:
            outcome = await post(body)
            if not outcome.delivered:
                refusals[outcome.error, outcome.retry_after_s] += 1
            return outcome

        telegram.faults.add(*[SLOW] * len(CHATS))  # so that the flood overtakes the answers
        async with serving(telegram, telegram.url, store, port, folder / "serve.log"):
            telegram.updates.connect(deliver, CONNECTIONS)
            _say(telegram, said)
            async with asyncio.timeout(100.0):
                await telegram.updates.idle()
            await ended(store)
        await telegram.updates.disconnect()
        problems = await _problems(telegram, store, said)
    assert [] == problems
    assert [(REFUSAL, RETRY_S)] == list(refusals)


def _say(telegram: TelegramSimulator, said: Mapping[int, int]) -> None:
    for number in range(1, max(said.values()) + 1):
        for chat, most in said.items():
            if number <= most:
                telegram.say(chat, ASK.format(number))


async def _problems(
    telegram: TelegramSimulator, store: Mapping[str, str], said: Mapping[int, int]
) -> Sequence[str]:
    """What is lost, doubled or out of order in the transcripts, the store's turns and the conversations."""
    records = await _records(store)
    own = {chat: [each for each in records if each.chat == chat] for chat in said}
    return [
        *(
            f"chat {chat}: {len(own[chat])} of {most} turns"
            for chat, most in said.items()
            if len(own[chat]) != most
        ),
        *(f"{each.key} is {each.state}" for each in records if each.state != "answered"),
        *(
            str(problem)
            for chat in said
            for problem in against_transcript(chat, own[chat], telegram.replies(chat))
        ),
    ]


async def _records(store: Mapping[str, str]) -> Sequence[UpdateRecord]:
    database = choose(load(store))
    await database.open()
    sessions = database.sessions(Meter())
    try:
        return sorted(await sessions.find_updates(STATES, ALL), key=lambda record: record.update)
    finally:
        await sessions.close()
