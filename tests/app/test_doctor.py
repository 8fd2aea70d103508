"""`firstlight doctor`: what it finds in a real store and at Telegram, and how it says it."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import msgspec
import pytest
from click.testing import CliRunner, Result
from google.cloud.firestore import AsyncClient

from actors import turns
from actors.meter import Meter
from actors.ports import TokenRefused
from actors.stores import SessionStore, UpdateRecord
from app.cli import cli
from app.dead_letters import replay_dead
from app.doctor import LOOKED_AT, Findings, examine, with_actors
from app.settings import load
from app.store.database import Database, choose
from app.telegram.addressing import BotIdentity
from app.telegram.client import TelegramClient
from app.telegram.methods import WebhookInfo
from app.telegram.simulator import TelegramSimulator
from contracts.turns import Chunk, ChunkState, Incoming, TurnState
from tests.app.service_kit import REPLY_S, serving, settings
from tests.app.store.firestore_rig import google_client, shipped_indexes
from tests.app.store.records import ended, lease, step, update
from tests.commands import free_port
from tests.e2e.conftest import Environ
from tests.emulator import Emulator
from tests.faultproxy import Fault, FaultProxy
from tests.waiting import until

AGO_S = 100.0
KEYS = {"ok", "lost", "unknown", "stuck", "dead"}
NO_INDEX = "The query requires an index. You can create it here: https://example.invalid"


class Patient(NamedTuple):
    """A store to examine: its settings, its adapter, and a way to make all that it holds older."""

    environ: Environ
    database: Database
    store: SessionStore
    age: Callable[[], Awaitable[None]]

    async def accept(self, number: int, chat: int = 500, *, body: bytes = b"turn") -> UpdateRecord:
        """Append an update; gives it as stored."""
        record = update(number, chat, body=body)
        appended = await self.store.append(record)
        return msgspec.structs.replace(record, version=appended.version)

    async def move(self, record: UpdateRecord, state: TurnState, reason: str = "") -> None:
        """Take the update to a state."""
        still_open = state == "committed"
        moved = msgspec.structs.replace(record, state=state, reason=reason, open=still_open)
        await self.store.write_turn(step(moved, operation=f"to-{state}"))


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.emulator)])
async def patient(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Patient]:
    """An empty store of each kind."""
    async with _OPEN[request.param](request, tmp_path) as opened:
        yield opened


async def test_an_empty_store_is_healthy(patient: Patient) -> None:
    """Nothing is a finding where nothing is."""
    found = await examine(patient.database)
    assert (True, (), ()) == (found.ok, found.lost, found.missing_indexes)
    assert {"accepted": 0, "committed": 0, "unknown": 0, "dead_lettered": 0} == found.checked


async def test_an_old_update_without_an_owner_is_lost(patient: Patient) -> None:
    """A young one may still be taken up."""
    await patient.accept(1)
    await patient.age()
    await patient.accept(2, chat=501)
    found = await examine(patient.database)
    assert (False, (1,), ()) == (found.ok, found.lost, found.stuck)
    assert [(1, 500, "accepted")] == [(each.update, each.chat, each.state) for each in found.updates]


async def test_a_living_lease_covers_all_that_waits_in_its_chat(patient: Patient) -> None:
    """What stands behind a turn that is worked on is not lost, however old."""
    for number in (1, 2, 3):
        await patient.accept(number)
    await patient.age()
    await patient.store.write_lease(500, lease(1))
    assert (await examine(patient.database)).ok


async def test_a_committed_turn_whose_lease_ran_out_is_stuck(patient: Patient) -> None:
    """With the lease that nobody renewed."""
    await patient.move(await patient.accept(1), "committed")
    await patient.store.write_lease(500, lease(1))
    await patient.age()
    found = await examine(patient.database)
    assert (False, (), (1,)) == (found.ok, found.lost, found.stuck)
    assert [(500, "7:1", "one")] == [(each.chat, each.update, each.owner) for each in found.stuck_leases]
    assert found.stuck_leases[0].age_s >= AGO_S


async def test_unknown_and_dead_ends_are_told_and_are_ends(patient: Patient) -> None:
    """Each with its reason; nothing is wrong with the store."""
    await patient.move(await patient.accept(1), "answered")
    await patient.move(await patient.accept(2, chat=501), "dead_lettered", "blocked")
    await patient.move(await patient.accept(3, chat=502), "committed")
    (committed,) = (await patient.store.read_chat(502)).open_updates
    await patient.move(committed, "unknown", "its owner stopped while sending")
    found = await examine(patient.database)
    assert (True, (3,), (2,)) == (found.ok, found.unknown, found.dead)
    assert {"its owner stopped while sending", "blocked"} == {each.reason for each in found.updates}


async def test_more_chats_than_one_wave_takes(healthy: Patient) -> None:
    """Every one of them is looked at."""
    await asyncio.gather(*(healthy.accept(number, chat=number) for number in range(1, 251)))
    await healthy.age()
    assert set(range(1, 251)) == set((await examine(healthy.database)).lost)


async def test_what_was_not_looked_at_is_said(healthy: Patient) -> None:
    """A bounded look never passes for a whole one, and one state does not crowd out another."""
    many = (healthy.accept(number, chat=number) for number in range(LOOKED_AT + 1))
    dead = (healthy.move(record, "dead_lettered") for record in await asyncio.gather(*many))
    await asyncio.gather(*dead)
    await healthy.accept(9_999, chat=9_999)
    await healthy.age()
    found = await examine(healthy.database)
    assert (("dead_lettered",), LOOKED_AT, (9_999,)) == (found.unchecked, len(found.dead), found.lost)


async def test_missing_indexes_are_named(emulator: Emulator, project: str) -> None:
    """Those that the shipped queries want, in the database's own refusal (the emulator never refuses)."""
    proxy = FaultProxy(emulator.host)
    await proxy.start()
    refusal = grpc.StatusCode.FAILED_PRECONDITION
    environ = {"FIRSTLIGHT_STORE": f"firestore://{project}", "FIRESTORE_EMULATOR_HOST": proxy.host}
    database = choose(load(environ))
    await database.open()
    try:
        proxy.inject(
            Fault("refuse", method="RunQuery", times=len(shipped_indexes()), status=refusal, detail=NO_INDEX)
        )
        missing = await database.missing_indexes()
    finally:
        await database.close()
        await proxy.stop()
    assert shipped_indexes() == set(missing)


# ---------------------------------------------------------------- Telegram's side


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramSimulator]:
    """A simulated Telegram on loopback."""
    async with TelegramSimulator() as simulator:
        yield simulator


@pytest.fixture
async def healthy(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Patient]:
    """An empty SQLite store."""
    async with _sqlite(request, tmp_path) as patient:
        yield patient


async def test_a_webhook_without_trouble_is_shown(healthy: Patient, telegram: TelegramSimulator) -> None:
    """Set or not, nothing waits and nothing failed."""
    async with _client(telegram.token, telegram.url) as client:
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
    async with _client(telegram.token, telegram.url) as client:
        await client.set_webhook(f"http://127.0.0.1:{free_port()}/webhook/telegram", "s")
        telegram.say(5, "hello")
        await until(lambda: telegram.updates.last_error)
        found = await examine(healthy.database, client)
    assert found.webhook is not None
    assert (False, 1) == (found.ok, found.webhook.pending)
    assert "Telegram can't deliver: Connection refused" == found.webhook.problem


async def test_a_telegram_that_is_away_says_nothing_of_the_store(healthy: Patient) -> None:
    """The store is examined all the same, its health is not Telegram's, and the token is not told."""
    async with _client("42:canary", f"http://127.0.0.1:{free_port()}") as client:
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
    async with _client("42:canary", telegram.url) as client:
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


# ---------------------------------------------------------------- the command


async def test_the_command_tells_a_healthy_store(patient: Patient) -> None:
    """Exit 0, one JSON document with the keys that are promised."""
    await patient.move(await patient.accept(1), "answered")
    told = await _doctor(patient, "--json")
    shown = await _doctor(patient)
    assert [0, 0] == [told.exit_code, shown.exit_code]
    assert KEYS | {"missing_indexes", "webhook", "stuck_leases", "checked"} <= set(json.loads(told.stdout))
    assert "nothing is lost" in shown.stdout


async def test_the_command_tells_what_is_lost(patient: Patient) -> None:
    """Exit 1; `--lost` lists each update with its chat and each lease with its owner."""
    await patient.move(await patient.accept(4321, chat=777), "committed")
    await patient.store.write_lease(777, lease(4321))
    await patient.age()
    told, listed = await _doctor(patient, "--json"), await _doctor(patient, "--lost")
    assert [1, 1] == [told.exit_code, listed.exit_code]
    assert [4321] == json.loads(told.stdout)["stuck"]
    assert "SOMETHING IS WRONG" in listed.stdout
    assert ["4321", "777", "7:4321", "one"] == [
        word for word in ("4321", "777", "7:4321", "one") if word in listed.stdout
    ]


def test_a_store_that_can_not_be_read_is_one_line(tmp_path: Path) -> None:
    """A file that is no database is not an empty store."""
    (tmp_path / "broken.db").write_bytes(b"not a database, and long enough to be looked at" * 100)
    environ = {"FIRSTLIGHT_STORE": f"sqlite:///{tmp_path / 'broken.db'}", "TELEGRAM_BOT_TOKEN": ""}
    ended = CliRunner().invoke(cli, ["doctor", "--json"], env=environ)
    assert (1, "") == (ended.exit_code, ended.stdout)
    assert 1 == len([line for line in ended.stderr.splitlines() if "can't be read" in line])


def test_a_store_that_is_not_there_is_no_healthy_one(tmp_path: Path) -> None:
    """A mistyped path is no proof of health, and no file is made there."""
    environ = {"FIRSTLIGHT_STORE": f"sqlite:///{tmp_path / 'nowhere.db'}", "TELEGRAM_BOT_TOKEN": ""}
    ended = CliRunner().invoke(cli, ["doctor", "--json"], env=environ)
    assert (1, "") == (ended.exit_code, ended.stdout)
    assert "there is no store at" in ended.stderr
    assert not (tmp_path / "nowhere.db").exists()


# ---------------------------------------------------------------- dead letters


def _letter(*states: ChunkState) -> bytes:
    chunks = tuple(Chunk(text="a part", state=state) for state in states)
    return turns.pack(turns.TurnRecord(incoming=Incoming(kind="message", chat=500, text="hi"), chunks=chunks))


async def test_a_dead_letter_is_given_one_more_turn(patient: Patient) -> None:
    """At the end of its chat's mailbox, its own record untouched; a second replay changes nothing."""
    await patient.move(await patient.accept(1, body=_letter()), "dead_lettered", "five attempts")
    await patient.accept(2)
    first, second = await replay_dead(patient.database), await replay_dead(patient.database)
    waiting = (await patient.store.read_chat(500)).open_updates
    assert ((1,), ()) == (first.reopened, second.reopened)
    assert {"1": "was replayed before"} == second.left
    assert [2, -1] == [each.update for each in waiting]
    assert "hi" == turns.unpack(waiting[1]).incoming.text
    assert (1,) == (await examine(patient.database)).dead


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (_letter("sent", "failed"), "was answered in part"),
        (_letter("unknown", "failed"), "was answered in part"),
        (b"", "is erased or unreadable"),
    ],
)
async def test_a_dead_letter_that_was_seen_is_left(healthy: Patient, body: bytes, why: str) -> None:
    """Nobody gets an answer twice, not even a part of it."""
    await healthy.move(await healthy.accept(1, body=body), "dead_lettered")
    assert {"1": why} == (await replay_dead(healthy.database)).left
    assert () == (await healthy.store.read_chat(500)).open_updates


async def test_a_running_service_works_a_replayed_letter(tmp_path: Path) -> None:
    """Found by its sweeper; the answer arrives once."""
    async with TelegramSimulator() as telegram:
        telegram.open_chat(chat=500)
        chosen = settings(tmp_path)
        database = choose(chosen)
        store = database.sessions(Meter())
        record = msgspec.structs.replace(update(1), body=_letter())
        stored = await store.append(record)
        dead = msgspec.structs.replace(
            ended(record, "dead_lettered", body=record.body), version=stored.version
        )
        await store.write_turn(step(dead))
        assert (1,) == (await replay_dead(database)).reopened
        await store.close()
        async with serving(telegram, chosen):
            await telegram.wait_for_reply(500, 1, REPLY_S)
            assert 1 == len(telegram.replies(500))


# ---------------------------------------------------------------- stores


@asynccontextmanager
async def _sqlite(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Patient]:
    file = folder / "doctor.db"

    async def age() -> None:
        with sqlite3.connect(file, timeout=5.0) as connection:
            connection.execute("UPDATE updates SET accepted_at = accepted_at - ?", (AGO_S,))
            connection.execute("UPDATE leases SET renewed_at = renewed_at - ?", (AGO_S,))
        connection.close()

    async with _opened({"FIRSTLIGHT_STORE": f"sqlite:///{file}"}, age) as patient:
        yield patient


@asynccontextmanager
async def _firestore(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Patient]:
    host = str(request.getfixturevalue("emulator").host)
    project = str(request.getfixturevalue("project"))
    async with google_client(project, host) as client:

        async def age() -> None:
            await _age_documents(client)

        environ = {"FIRSTLIGHT_STORE": f"firestore://{project}", "FIRESTORE_EMULATOR_HOST": host}
        async with _opened(environ, age) as patient:
            yield patient


async def _age_documents(client: AsyncClient) -> None:
    then = datetime.now(UTC) - timedelta(seconds=AGO_S)
    updates: Any = client.collection("updates").stream()
    async for document in updates:
        await document.reference.update({"accepted_at": then})
    mailboxes: Any = client.collection("mailboxes").stream()
    async for document in mailboxes:
        for key in document.to_dict().get("leases", {}):
            await document.reference.update({f"leases.`{key}`.renewed_at": then})


@asynccontextmanager
async def _opened(environ: Environ, age: Callable[[], Awaitable[None]]) -> AsyncIterator[Patient]:
    """The database stays open while the examination's own adapter on it comes and goes."""
    async with AsyncExitStack() as stack:
        database = choose(load(environ))
        stack.push_async_callback(database.close)
        await database.open()
        store = database.sessions(Meter())
        stack.push_async_callback(store.close)
        yield Patient(environ, database, store, age)


_OPEN = {"sqlite": _sqlite, "firestore": _firestore}


@asynccontextmanager
async def _client(token: str, url: str) -> AsyncIterator[TelegramClient]:
    client = TelegramClient(token, url)
    try:
        yield client
    finally:
        await client.close()


async def _doctor(patient: Patient, *words: str) -> Result:
    environ: dict[str, str | None] = {"TELEGRAM_BOT_TOKEN": None, "COLUMNS": "200", **patient.environ}
    return await asyncio.to_thread(CliRunner().invoke, cli, ["doctor", *words], env=environ)
