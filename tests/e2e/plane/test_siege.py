"""`firstlight chaos --target plane`: the deployed app under faults of every kind loses and doubles nothing."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from subprocess import PIPE

import msgspec
import pytest

from app.chaos.siege.schedule import KINDS
from app.chaos.siege.siege import Account
from tests import commands
from tests.e2e.up_kit import processes_of, run, without_settings
from tests.waiting import until

pytestmark = [pytest.mark.modal, pytest.mark.slow]

SEED = os.environ.get("CHAOS_SEED")
FIRSTLIGHT = str(Path(sys.executable).with_name("firstlight"))
CALM = "delay,drop,lose_reply,second_owner"
"""Faults after which no lease of 15 s has to run out."""
STARTED_S = 60.0
ENDED_S = 20.0


@pytest.mark.timeout(150)  # some 15 s; a deploy and a dozen containers on a busy machine take longer
async def test_a_short_siege_keeps_every_promise(tmp_path: Path, injected: Counter[str]) -> None:
    """D4, D5: calls run twice, late and again, a pool of one has two containers; and the trace names each strike."""
    account = await _besieged(tmp_path, "--minutes", "0.1", "--only", CALM, "--trace", "trace.jsonl")
    injected.update(account.faults)
    assert () == account.problems
    assert set(CALM.split(",")) == set(account.faults)
    struck = [msgspec.json.decode(line) for line in (tmp_path / "trace.jsonl").read_bytes().splitlines()]
    assert set(CALM.split(",")) == {each["kind"] for each in struck}
    assert account.updates == account.accepted == account.ends["answered"] > 10
    assert 2 == max(account.most_containers[name] for name in ("SessionCacheActor", "ChatAgent"))


@pytest.mark.timeout(150)  # a few seconds; see above
async def test_ctrl_c_ends_everything_that_a_siege_began(tmp_path: Path) -> None:
    """While containers run and the client deploys again: no process is left, no folder, and the code is 130."""
    command = (FIRSTLIGHT, "chaos", "--target", "plane", "--minutes", "5")
    environ = without_settings() | {"TMPDIR": str(tmp_path)}
    async with commands.started(*command, cwd=tmp_path, env=environ, stdout=PIPE, stderr=PIPE) as process:
        await until(
            lambda: len(processes_of(tmp_path)) >= 4, STARTED_S
        )  # itself, and containers of all kinds
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(ENDED_S):
            output = await process.communicate()
    assert (130, (b"", b"")) == (process.returncode, output)
    assert [] == processes_of(tmp_path)
    assert [] == os.listdir(tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(300)  # some 60 s, most of it leases of 15 s
async def test_every_kind_of_fault_loses_and_doubles_nothing(tmp_path: Path, injected: Counter[str]) -> None:
    """D1, D4 to D6, A1, B3: half a minute of what the command does by itself, with a seed that stays."""
    await _besiege(tmp_path, injected, SEED or "1", "0.5")


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_minutes_of_faults_lose_and_double_nothing(tmp_path: Path, injected: Counter[str]) -> None:
    """The same for hundreds of turns and some thirty dead containers, with a new seed in each run."""
    await _besiege(tmp_path, injected, SEED or str(random.SystemRandom().randrange(1_000_000)), "4")


async def _besiege(folder: Path, injected: Counter[str], seed: str, minutes: str) -> None:
    account = await _besieged(folder, "--minutes", minutes, "--seed", seed)
    injected.update(account.faults)
    sys.stdout.write(f"\n{account}\n")
    assert () == account.problems, f"CHAOS_SEED={seed}"
    assert set(KINDS) - {"telegram"} <= set(account.faults)
    assert any(name.startswith("telegram_") for name in account.faults)


async def _besieged(folder: Path, *words: str) -> Account:
    """Run the command; its exit code says what the account says, and nothing of it is left."""
    told = await run(
        *(FIRSTLIGHT, "chaos", "--target", "plane", "--json", *words),
        cwd=folder,
        environ={"TMPDIR": str(folder)},
        within_s=800.0,
    )
    assert "" == told.stderr
    account = msgspec.json.decode(told.stdout, type=Account)
    assert told.exit_code == int(not account.holds)
    assert [] == processes_of(folder)
    return account
