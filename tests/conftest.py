"""What tests of every part may need: Google's Firestore emulator, and a loud word when it is missing."""

import os
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from tests.emulator import Emulator, EmulatorMissing, start_emulator

settings.register_profile("ours", deadline=None)  # a busy machine is no failure
settings.load_profile("ours")

REQUIRED = os.environ.get("FIRSTLIGHT_REQUIRE_EMULATOR") == "1"


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for each test process; without Java or its jar, the tests that need it are skipped."""
    log: Path = tmp_path_factory.mktemp("emulator") / "log"
    with log.open("wb") as output:
        try:
            running = start_emulator(output)
        except EmulatorMissing as missing:
            _miss(str(missing))
        yield running
        running.stop()


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """A command that a test runs in this process sets up its log, which the next test's must not inherit."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def project() -> str:
    """A project id of the test's own: the emulator keeps every project apart."""
    return f"test-{secrets.token_hex(8)}"


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Faults that a test injects, by kind; the run's end tells the sums, so that an idle harness is seen."""
    counter: Counter[str] = Counter()
    yield counter
    request.node.user_properties.append(("injected", dict(counter)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for the emulator carries its marker, so that `-m "not emulator"` leaves nothing behind."""
    for item in items:
        if "emulator" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.emulator)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what a green run alone does not: emulator tests that were skipped, and faults that were injected."""
    skipped = [report for report in terminalreporter.getreports("skipped") if "emulator" in report.keywords]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} EMULATOR TESTS WERE SKIPPED", yellow=True, bold=True)
    faults = sum((_injected(report) for report in terminalreporter.getreports("")), Counter())
    if faults:
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
        terminalreporter.write_line(f"faults injected: {told}")


def _injected(report: pytest.TestReport) -> Counter[str]:
    """A test's count stands in the report of its teardown, the one that is made last."""
    properties: dict[str, Any] = dict(report.user_properties)
    counted: Counter[str] = Counter(properties.get("injected", {}))
    return counted


def _miss(reason: str) -> None:
    if REQUIRED:
        pytest.fail(f"FIRSTLIGHT_REQUIRE_EMULATOR=1, but {reason}")
    pytest.skip(reason)
