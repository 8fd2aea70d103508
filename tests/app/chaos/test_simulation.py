"""Whole runs: the same seed runs the same way, and every promise holds under what a few seeds inject."""

import io
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from app.chaos.crowd import Size
from app.chaos.faults import KINDS, Faults
from app.chaos.simulation import Account, Plan, StoreKind, command_of, simulate
from app.cli import cli

WORDS = ("what do you think of it", "quickly", "among ourselves", "/nonsense")
"""Of the messages that people write."""
SMALL = Size(people=10, groups=2)


def test_the_same_seed_runs_the_same_way() -> None:
    """Two runs of a plan give the same account to the last event; writing the trace down changes nothing."""
    plan = Plan(seed=11, minutes=3, size=SMALL)
    trace = io.StringIO()
    first, second = simulate(plan), simulate(plan, trace_file=trace)
    assert first == second
    assert len(trace.getvalue().splitlines()) == first.events


@pytest.mark.parametrize(("store", "minutes"), [("sqlite", 2.0), ("firestore", 0.5)])
def test_over_a_service_s_store_every_promise_holds_and_a_seed_runs_the_same_way(
    store: StoreKind, minutes: float, injected: Counter[str]
) -> None:
    """Its own adapter under the same faults on virtual time, the second time the same."""
    plan = Plan(seed=3, minutes=minutes, store=store)
    first, second = simulate(plan), simulate(plan)
    injected.update(first.faults)
    assert first == second
    assert first.violations == ()
    assert first.accepted > 30 * minutes


@pytest.mark.parametrize("store", ["sqlite", "firestore"])
def test_over_a_service_s_store_a_seed_runs_the_same_way_in_another_process(store: StoreKind) -> None:
    """Neither the folder's name nor the order of hashes has a say, nor what the libraries draw for themselves."""
    plan = Plan(seed=12, minutes=0.25, size=SMALL, store=store)
    command = [
        sys.executable,
        "-c",
        "import app.cli; app.cli.main()",
        *command_of(plan).split()[1:],
        "--json",
    ]
    runs = [
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout


@pytest.mark.parametrize("store", ["memory", "sqlite", "firestore"])
def test_no_log_holds_what_people_write(store: StoreKind) -> None:
    """At level debug, with everything going wrong; there are no secrets in a simulation."""
    plan = Plan(seed=3, minutes=0.5, intensity=3.0, store=store)
    command = [sys.executable, "-c", "import app.cli; app.cli.main()", *command_of(plan).split()[1:]]
    ran = subprocess.run([*command, "--log-level", "debug"], capture_output=True, check=True, text=True)
    assert "turn_claimed" in ran.stderr, "nothing was logged: the search would find nothing"
    assert [] == [words for words in WORDS if words in ran.stderr]


def test_over_sqlite_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is made where temporary ones are, and goes with the run."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = set[str]()
    plan = Plan(seed=1, minutes=0.2, size=SMALL, store="sqlite")
    simulate(plan, progress=lambda *_: made.update(file.name for file in tmp_path.rglob("*.db")))
    assert {"world.db"} == made
    assert [] == list(tmp_path.iterdir())


def test_other_seeds_run_another_way() -> None:
    """Five seeds give five traces."""
    accounts = [simulate(Plan(seed=seed, minutes=1, size=SMALL)) for seed in range(5)]
    assert len({account.trace for account in accounts}) == 5


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_every_promise_holds(seed: int, injected: Counter[str]) -> None:
    """Some minutes of people, faults and deaths: nothing is lost, doubled or out of order."""
    account = simulate(Plan(seed=seed, minutes=6))
    injected.update(account.faults)
    assert account.violations == ()
    assert account.owed.get("container died", 0) <= account.in_flight
    assert account.ends.get("unknown", 0) == sum(account.owed.values())
    assert account.accepted > 100
    assert sum(account.faults.values()) > 50


def test_without_faults_everything_is_answered() -> None:
    """In peace no reply is unknown, and nothing that was said to the bot ends otherwise than answered."""
    account = simulate(Plan(seed=1, minutes=5, without=tuple(KINDS)))
    assert account.violations == ()
    assert account.faults == {}
    assert account.unknown == {}
    assert set(account.ends) <= {"answered", "ignored", "quarantined"}
    assert account.duplicates == 0


@pytest.mark.parametrize(
    ("registries", "faults"),
    [
        (1, ("model_slow",)),
        (2, ("model_slow",)),
        (1, ("registry_killed", "rolling_deploy")),
        (2, ("registry_killed", "rolling_deploy")),
    ],
)
def test_a_changed_skill_reaches_every_turn_within_its_bound(
    registries: int, faults: tuple[str, ...]
) -> None:
    """A turn may use an edition for a while after it was replaced, never for longer; also when registries die."""
    size = Size(people=20, groups=2, registries=registries)
    account = simulate(Plan(seed=2, minutes=12, size=size, only=faults, intensity=5.0))
    assert account.violations == ()
    assert account.skill_uses > 20
    assert account.old_skills > 0


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.where != "hour"])
def test_each_kind_of_fault_can_be_had_alone(kind: str) -> None:
    """`only` leaves one kind, with its own rate at least, whatever the seed says of it."""
    faults = Faults(random.Random(3), only=(kind,))
    for _ in range(30_000):
        faults.draw(KINDS[kind].where)
    assert set(faults.injected) == {kind}


def test_the_command_gives_one_json_document() -> None:
    """`--json` prints the account, and exit code 0 says that all holds."""
    arguments = ["chaos", "--seed", "5", "--minutes", "0.5", "--only", "model_fails,model_slow", "--json"]
    done = CliRunner().invoke(cli, arguments)
    account = msgspec.json.decode(done.stdout, type=Account)
    assert (done.exit_code, account.seed, account.violations) == (0, 5, ())
    assert set(account.faults) <= {"model_fails", "model_slow"}


def test_an_unknown_kind_is_wrong_usage() -> None:
    """A kind that does not exist ends with 2 and names those that do."""
    done = CliRunner().invoke(cli, ["chaos", "--only", "earthquake"])
    assert done.exit_code == 2
    assert "store_outage" in done.output


def test_the_wire_s_faults_are_injected_and_counted(injected: Counter[str]) -> None:
    """Every kind of those that hit single calls of Firestore's comes up, and no promise breaks."""
    kinds = tuple(name for name, kind in KINDS.items() if kind.where == "rpc")
    account = simulate(Plan(seed=2, minutes=3, size=SMALL, store="firestore", only=kinds, intensity=12.0))
    injected.update(account.faults)
    assert account.violations == ()
    assert set(kinds) == set(account.faults)


def test_no_other_store_loads_google_s_libraries() -> None:
    """They take half a second."""
    look = (
        "import sys, app.cli.chaos; print([name for name in sys.modules if name in ('google.cloud', 'grpc')])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, check=True, text=True)
    assert "[]" == done.stdout.strip()


def test_firestore_without_google_s_library_is_refused_in_a_line() -> None:
    """It is wrong usage where the package is not installed, and no traceback."""
    hidden = "import sys; sys.modules['google.cloud.firestore_v1'] = None; import app.cli; app.cli.main()"
    command = [sys.executable, "-c", hidden, "chaos", "--store", "firestore"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (2, False) == (done.returncode, "Traceback" in done.stderr)
    assert "needs the package google-cloud-firestore" in done.stderr


def test_a_plane_takes_no_store() -> None:
    """It has one of its own; to ignore the option would be a lie."""
    done = CliRunner().invoke(cli, ["chaos", "--target", "plane", "--store", "sqlite"])
    assert (2, True) == (done.exit_code, "a plane has a store of its own" in done.output)


def test_the_command_that_replays() -> None:
    """What is printed beside a violation runs the same plan."""
    plan = Plan(seed=7, minutes=2.5, without=("second_owner", "ask_lost"))
    assert command_of(plan) == "firstlight chaos --seed 7 --minutes 2.5 --without second_owner,ask_lost"
    assert command_of(Plan(seed=7, minutes=2, store="sqlite")) == (
        "firstlight chaos --seed 7 --minutes 2 --store sqlite"
    )


@pytest.mark.soak
@pytest.mark.parametrize("store", ["memory", "sqlite", "firestore"])
@pytest.mark.parametrize("seed", range(100, 110))
def test_every_promise_holds_for_hours(seed: int, store: StoreKind, injected: Counter[str]) -> None:
    """Two simulated hours of each of ten seeds, over each store."""
    account = simulate(Plan(seed=seed, minutes=120, store=store))
    injected.update(account.faults)
    assert account.violations == ()
