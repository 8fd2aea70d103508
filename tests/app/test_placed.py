"""What the Modal classes stand on: settings that fail in one line, skills read before, scaling as Modal takes it."""

import asyncio
import sys
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from actors.ports import ResourceUnavailable, SkillFiles, SkillScan
from app.placed import Begun, Preread, inputs, pool, told_in_one_line
from app.settings import Scaling, SettingsError, carried, load
from contracts.skills import SetAside


class NumberedScans(SkillFiles):
    """Skill files whose scans can be told apart, and one resource."""

    def __init__(self) -> None:
        self.scans = self.refreshed = 0

    async def refresh(self) -> None:
        self.refreshed += 1

    async def scan(self) -> SkillScan:
        self.scans += 1
        return SkillScan(set_aside=(SetAside(file=str(self.scans), reason="a scan's number"),))

    async def read_resource(self, skill_path: str, resource: str) -> bytes:
        if resource != "there":
            raise ResourceUnavailable("not there")
        return skill_path.encode()


@pytest.fixture
def traceback_limit() -> Iterator[None]:
    """Put back what a container that fails changes on its way out."""
    yield
    if hasattr(sys, "tracebacklimit"):
        del sys.tracebacklimit


async def test_the_first_scan_is_the_one_made_before() -> None:
    """A restored container parses nothing to be ready; whoever scans again sees the files as they are now."""
    files = NumberedScans()
    preread = await Preread.of(files, files.refresh)
    assert files.scans == 1
    seen = [(await preread.scan()).set_aside[0].file for _ in range(3)]
    assert (seen, files.scans, files.refreshed) == (["1", "2", "3"], 3, 2)


async def test_resources_are_read_when_they_are_asked_for() -> None:
    """Only the scan is held, and what can't be read is refused as ever."""
    files = NumberedScans()
    preread = await Preread.of(files, files.refresh)
    assert await preread.read_resource("folder/SKILL.md", "there") == b"folder/SKILL.md"
    with pytest.raises(ResourceUnavailable):
        await preread.read_resource("folder/SKILL.md", "elsewhere")


async def test_what_was_begun_outlives_the_input_that_asked_for_it() -> None:
    """Modal cancels the inputs of a container that it takes away; a message on its way is not cut by that."""
    begun, under_way, go_on, sent = Begun(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def send() -> bytes:
        under_way.set()
        await go_on.wait()
        sent.set()
        return b"sent"

    waiting = asyncio.create_task(begun.result(send()))
    await under_way.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    async with asyncio.timeout(5):
        await sent.wait()
    assert b"sent" == await begun.result(send())


@pytest.mark.usefixtures("traceback_limit")
def test_a_wrong_setting_is_told_once_and_in_one_line() -> None:
    """The log has one critical line; what is raised is Python's own class, as it crosses to callers pickled."""
    with capture_logs() as logs, pytest.raises(RuntimeError) as raised, told_in_one_line():
        load({"MODAL_IS_REMOTE": "1"}).require_store()
    line = str(raised.value)
    assert line.startswith("FIRSTLIGHT_STORE is not set: ")
    assert type(raised.value) is RuntimeError
    assert (raised.value.__suppress_context__, sys.tracebacklimit) == (True, 0)
    assert logs == [{"event": "misconfigured", "error": line, "log_level": "critical"}]


def test_other_errors_pass_untouched() -> None:
    """A defect keeps its traceback."""
    with capture_logs() as logs, pytest.raises(ZeroDivisionError), told_in_one_line():
        _ = 1 / 0
    assert logs == []


def test_what_is_carried_is_no_secret_and_is_enough() -> None:
    """The deploying machine's variables of shape go into the image; its store, model and keys do not."""
    shape = {
        "FIRSTLIGHT_SHARDS": "4",
        "FIRSTLIGHT_ALLOWED_USERS": "",
        "FIRSTLIGHT_LOG_LEVEL": "debug",
        "FIRSTLIGHT_CHAT_AGENT_MAX_CONTAINERS": "5",
    }
    kept = {
        "FIRSTLIGHT_STORE": "nonsense",
        "FIRSTLIGHT_SKILLS_DIR": "/home/somebody",
        "FIRSTLIGHT_ADMIN_TOKEN": "secret",
        "TELEGRAM_BOT_TOKEN": "secret",
        "TELEGRAM_WEBHOOK_SECRET": "secret",
        "ANTHROPIC_API_KEY": "secret",
        "FIRSTLIGHT_GOOGLE_CREDENTIALS": "secret",
        "PATH": "/bin",
    }
    assert carried(shape | kept) == shape
    settings = load(carried(shape | kept))
    assert (settings.shards, settings.allowed_users, settings.log_level) == (4, frozenset(), "debug")
    assert settings.scaling.chat_agent.max_containers == 5


@pytest.mark.parametrize("environ", [{"FIRSTLIGHT_SHARDS": "0"}, {"FIRSTLIGHT_GATEWAY_MIN_CONTAINERS": "-1"}])
def test_a_wrong_shape_is_found_where_it_is_set(environ: dict[str, str]) -> None:
    """The deploy fails, not the container."""
    with pytest.raises(SettingsError):
        load(carried(environ))


def test_scaling_is_spelled_as_modal_spells_it() -> None:
    """What is not set is left to Modal."""
    scaling = Scaling(min_containers=0, scaledown_window=90, max_inputs=7)
    nothing = {"max_containers": None, "buffer_containers": None}
    assert pool(scaling) == {"min_containers": 0, "scaledown_window": 90} | nothing
    assert inputs(scaling) == {"max_inputs": 7, "target_inputs": None}
