"""The cold-start budget: how often each role waits for others on its way to its first answer, and its imports."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from _pytest.mark import ParameterSet

from app.cold_start import BUDGETS, WITHOUT_IMAGE, Budget
from tests.app.cold.kit import (
    SEEN,
    Measured,
    emulated,
    far_firestore,
    far_services,
    leave_an_image,
    measure,
    serve,
)
from tests.emulator import Emulator

TRIES: Final = 4  # each twice as far: a busy machine tears apart what was asked at once, and joins nothing
FAR_S: Final = (0.02, 0.05)
SLACK_MS: Final = 500.0  # beside what others held it up: caches and disks that they use, too
WAIT_MS: Final = (
    1000.0  # beside its trips, of a phase that waits for others: here nobody is cold and no model thinks
)

_MODAL: Final = {
    "attr", "cbor2", "google._upb", "google.protobuf", "grpclib", "h2", "hpack", "hyperframe", "modal",
    "modal_proto", "modal_version", "multidict", "synchronicity", "typing_extensions",
}  # fmt: skip
_ALL: Final = _MODAL | {"msgspec", "structlog"}
_HTTP: Final = {"aiohappyeyeballs", "aiohttp", "aiosignal", "frozenlist", "idna", "propcache", "yarl"}
_RETRIES: Final = {"sniffio", "stamina", "tenacity"}
_GOOGLE: Final = {
    "certifi", "charset_normalizer", "cryptography", "google.api", "google.api_core", "google.auth",
    "google.cloud", "google.longrunning", "google.oauth2", "google.rpc", "google.type", "grpc", "grpc_status",
    "idna", "opentelemetry", "proto", "requests", "urllib3",
}  # fmt: skip
_ANTHROPIC: Final = {
    "annotated_types", "anthropic", "anyio", "certifi", "distro", "docstring_parser", "h11", "httpcore2",
    "httpx2", "jiter", "opentelemetry", "pydantic", "pydantic_core", "truststore", "typing_inspection",
}  # fmt: skip

MAY_IMPORT: Final = {
    ("SkillRegistryActor", "sqlite"): _ALL | {"sqlite3", "yaml"},
    ("SkillRegistryActor", "firestore"): _ALL | _RETRIES | _GOOGLE | {"yaml"},
    ("SessionCacheActor", "sqlite"): _ALL | {"sqlite3"},
    ("SessionCacheActor", "firestore"): _ALL | _RETRIES | _GOOGLE,
    ("ChatAgent", "services"): _ALL | _HTTP | _RETRIES | _ANTHROPIC | {"pyromark", "telegramify_markdown"},
    ("TelegramGateway", "services"): _ALL | _HTTP | _RETRIES,
}
"""The packages that each role may have imported by its first answer, over each store; a new one is a decision."""

FIRST_TRIPS: Final = {"SkillRegistryActor": 0, "SessionCacheActor": 1}
"""How often the first request goes to the store."""

Started = Callable[..., Awaitable[Measured]]
SHARD: Final = "SessionCacheActor"

pytestmark = pytest.mark.timeout(
    240
)  # some processes, each of which imports all that it has: long on a busy machine


def cases() -> Iterator[ParameterSet]:
    """Every role at every distance; each start costs a second or more, so that half of them are for `make soak`."""
    for number, (case, far_s) in enumerate(product(MAY_IMPORT, FAR_S)):
        often = number % 4 in (0, 3)  # over SQLite from near, over Firestore from afar
        yield pytest.param(*case, far_s, marks=() if often else pytest.mark.soak)


@pytest.fixture
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Started:
    """Start a role over a store, or beside far services; again and from farther away if it is over its budget."""

    async def once(role: str, over: str, far_s: float, imaged: bool) -> Measured:
        match over:
            case "sqlite":
                environ = {"FIRSTLIGHT_STORE": f"sqlite:///{tmp_path}/far-{far_s}.db"}
                if imaged:
                    await leave_an_image(environ)
                return await measure(role, far_s, environ, tmp_path)
            case "firestore":
                host, project = (request.getfixturevalue(name) for name in ("emulator", "project"))
                project = f"{project}-{far_s * 1000:.0f}"
                if imaged:
                    await leave_an_image(emulated(host.host, project))
                async with far_firestore(host.host, project, far_s) as (environ, trips):
                    return await measure(role, far_s, environ, tmp_path, trips)
            case _:
                async with far_services(far_s) as (environ, trips):
                    return await measure(role, far_s, environ, tmp_path, trips)

    async def start(
        role: str, over: str, far_s: float, budgets: Mapping[str, Budget], *, imaged: bool
    ) -> Measured:
        for number in range(TRIES):
            measured = await once(role, over, far_s * 2**number, imaged)
            if not over_budget(budgets, measured):
                break
        return measured

    return start


def over_budget(budgets: Mapping[str, Budget], measured: Measured) -> dict[str, tuple[str, ...]]:
    """The phases that made more trips in a row than they may, with those trips, or took too long, with the time."""
    rows = {phase: measured.row(phase) for phase in budgets}
    spent = {phase: measured.spent_ms(phase) for phase in budgets}
    many = {phase: row for phase, row in rows.items() if len(row) > budgets[phase].trips}
    late = {
        phase: (f"{ms:.0f} ms",)
        for phase, ms in spent.items()
        if ms > most_ms(budgets[phase], measured.far_s) + measured.start.held_ms
    }
    return late | many


def most_ms(budget: Budget, far_s: float) -> float:
    """How long a phase may take here, where others are so far away and nobody holds it up: no more than it needs."""
    own = min(budget.ms, WAIT_MS) if budget.trips else budget.ms
    return own + budget.trips * far_s * 1000 + SLACK_MS


@pytest.mark.parametrize(("role", "over", "far_s"), list(cases()))
async def test_a_container_starts_within_its_budget(
    started: Started, role: str, over: str, far_s: float
) -> None:
    """No phase waits for others more often or takes longer than it may; what it imports and tells is as stated."""
    budgets = BUDGETS[role]
    measured = await started(role, over, far_s, budgets, imaged=role == SHARD)
    assert {} == over_budget(budgets, measured)
    assert set(budgets) == {span.phase for span in measured.start.spans}
    if role == SHARD:
        assert [("image", len(SEEN))] == sources(measured)
    check_connection(role, measured)
    check_imports(role, over, measured)
    check_event(role, measured)


@pytest.mark.parametrize("over", ["sqlite", pytest.param("firestore", marks=pytest.mark.soak)])
async def test_a_shard_without_an_image_takes_one_trip_more(started: Started, over: str) -> None:
    """It learns that there is none, and then asks for its recent sessions in one query."""
    budgets = {**BUDGETS[SHARD], "warm": WITHOUT_IMAGE}
    measured = await started(SHARD, over, FAR_S[0], budgets, imaged=False)
    assert {} == over_budget(budgets, measured)
    assert [("query", 0)] == sources(measured)
    check_connection(SHARD, measured)


def sources(measured: Measured) -> list[tuple[str, int]]:
    """What each warming of sessions was made from, and of how many."""
    return [(event["source"], event["count"]) for event in measured.events("sessions_warmed")]


def check_connection(role: str, measured: Measured) -> None:
    """An owner's warming reads, and so its first request finds an open connection; a registry's needs none."""
    if role in FIRST_TRIPS:
        assert measured.row("warm")
        first = next(phase for phase in BUDGETS[role] if phase.startswith("first_"))
        assert FIRST_TRIPS[role] == len(measured.row(first))


def check_imports(role: str, over: str, measured: Measured) -> None:
    """Only what it may, all of it before its first answer; and before the snapshot, where there is one."""
    assert set() == measured.imported("first") - MAY_IMPORT[role, over]
    moments = measured.start.modules
    assert set() == set(moments["first"]) - set(
        moments["ready"]
    )  # not a codec, either: that is a turn's millisecond
    assert (role == "ChatAgent") == (
        "app.telegram.echo" in moments["preload"]
    )  # it rehearses what it speaks through
    if role != "TelegramGateway":
        assert set() == measured.imported("ready") - measured.imported("preload")


def check_event(role: str, measured: Measured) -> None:
    """One event with the milliseconds of every phase, and of what warming was made of; nothing failed beside it."""
    (told,) = measured.events("cold_start")
    assert [] == [line for line in measured.log if line["event"].endswith("_failed")]
    assert role == told["role"]
    assert {f"{phase}_ms" for phase in BUDGETS[role]} | {"ready_ms"} == {
        key for key in told if key.endswith("_ms")
    }
    assert {phase for phase, budget in BUDGETS[role].items() if told[f"{phase}_ms"] > budget.ms} == set(
        told["over"]
    )
    assert (role == "TelegramGateway") == (told["warming"] == {})


async def test_the_whole_service_is_ready_within_its_round_trips(
    tmp_path: Path, emulator: Emulator, project: str
) -> None:
    """`serve` opens the store, Telegram and the model at once, and tells of it once when it has answered somebody."""
    for number in range(TRIES):
        far_s = FAR_S[1] * 2**number
        await leave_an_image(emulated(emulator.host, f"{project}-{number}"))
        async with (
            far_firestore(emulator.host, f"{project}-{number}", far_s) as (store, reads),
            far_services(far_s) as (services, calls),
        ):
            told, row = await serve(store | services, tmp_path, reads, calls)
        if len(row) <= BUDGETS["serve"]["warm"].trips:
            break
    assert len(row) <= BUDGETS["serve"]["warm"].trips, row
    (event,) = told.events("cold_start")
    spent = {phase: event[f"{phase}_ms"] - told.start.held_ms for phase in BUDGETS["serve"]}
    assert {} == {phase: ms for phase, ms in spent.items() if ms > most_ms(BUDGETS["serve"][phase], far_s)}
    assert {"SkillRegistryActor", "SessionCacheActor[0]", "ChatAgent"} == set(event["warming"])
