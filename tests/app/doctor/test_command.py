"""`firstlight doctor` as a person meets it: exit codes, one JSON document, one line for what is wrong."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from actors.stores import LeaseRecord
from app.cli import cli
from tests.app.doctor.kit import Patient
from tests.app.store.records import lease

VERSION_1 = Path(__file__).parent.parent / "store" / "sqlite_version_1.sql"
KEYS = {"ok", "lost", "unknown", "stuck", "dead"}


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
    why = "firstlight: something is wrong: 1 stuck"
    assert [why, why] == [each.stderr.splitlines()[-1] for each in (told, listed)]
    assert [4321] == json.loads(told.stdout)["stuck"]
    assert "SOMETHING IS WRONG" in listed.stdout
    assert ["4321", "777", "7:4321", "one"] == [
        word for word in ("4321", "777", "7:4321", "one") if word in listed.stdout
    ]


async def test_the_command_tells_who_waits(patient: Patient) -> None:
    """Exit 0 at three in the morning: with until when, and the ids under a key of their own."""
    await patient.move(await patient.accept(4321, chat=777), "committed")
    nobody = LeaseRecord(lease="gone", owner="", update_key="7:4321", attempt=0, wait_s=900.0)
    await patient.store.write_lease(777, nobody)
    await patient.age()
    told, shown = await _doctor(patient, "--json"), await _doctor(patient)
    assert [0, 0] == [told.exit_code, shown.exit_code]
    document = json.loads(told.stdout)
    assert ([4321], [], []) == (document["waiting"], document["stuck"], document["lost"])
    assert "chat 777 waits until 20" in shown.stdout


async def test_the_command_tells_what_contradicts_itself(patient: Patient) -> None:
    """Exit 1, with the update and what is wrong with it."""
    await patient.move(await patient.accept(4321, chat=777), "dead_lettered")
    shown = await _doctor(patient)
    assert 1 == shown.exit_code
    assert "update 4321 of chat 777 (dead_lettered) ended without a reason" in shown.stdout


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


@pytest.mark.parametrize("words", [("--json",), ("--replay-dead",)])
def test_an_earlier_versions_file_stays_as_it_is(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Its own version may still work on it: one line says who brings it up to date; the doctor does not."""
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(VERSION_1.read_text())
    before = file.read_bytes()
    environ = {"FIRSTLIGHT_STORE": f"sqlite:///{file}", "TELEGRAM_BOT_TOKEN": ""}
    ended = CliRunner().invoke(cli, ["doctor", *words], env=environ)
    assert (1, "") == (ended.exit_code, ended.stdout)
    assert ["start the service once"] == re.findall("start the service once", ended.stderr)
    assert before == file.read_bytes()


async def test_looking_changes_no_file(healthy: Patient, tmp_path: Path) -> None:
    """A doctor that looks for what was lost leaves the file of a service that stands still as it was."""
    await healthy.accept(1)
    await healthy.store.close()
    before = (tmp_path / "doctor.db").read_bytes()
    assert 0 == (await _doctor(healthy)).exit_code
    assert before == (tmp_path / "doctor.db").read_bytes()


def test_an_empty_file_is_no_healthy_store(tmp_path: Path) -> None:
    """Whatever cut it to nothing, what was in it is not proven to be there; and it is not made into a store."""
    (tmp_path / "empty.db").touch()
    environ = {"FIRSTLIGHT_STORE": f"sqlite:///{tmp_path / 'empty.db'}", "TELEGRAM_BOT_TOKEN": ""}
    ended = CliRunner().invoke(cli, ["doctor", "--json"], env=environ)
    assert (1, "") == (ended.exit_code, ended.stdout)
    assert "there is no store at" in ended.stderr
    assert 0 == (tmp_path / "empty.db").stat().st_size


async def _doctor(patient: Patient, *words: str) -> Result:
    environ: dict[str, str | None] = {"TELEGRAM_BOT_TOKEN": None, "COLUMNS": "200", **patient.environ}
    return await asyncio.to_thread(CliRunner().invoke, cli, ["doctor", *words], env=environ)
