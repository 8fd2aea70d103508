"""Each deliberate break of dedupe, compare-and-set, outbox or lease fails the test that it names."""

from collections import Counter
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.mutations.breaks import BREAKS
from tests.mutations.runner import TESTS_FAILED, Break, apply, copy_tree, run

EACH = [pytest.param(each, id=each.name) for each in BREAKS]


@pytest.mark.parametrize("broken", EACH)
def test_a_break_still_finds_its_place(broken: Break) -> None:
    """Code that has changed needs its breaks changed with it: each text stands once, each test is there."""
    file, _, test = broken.test.partition("::")
    assert 1 == broken.found()
    assert broken.before != broken.after
    assert f"def {test.partition('[')[0].rpartition('::')[2]}(" in (ROOT / file).read_text("utf-8")


def test_no_break_stands_twice() -> None:
    """Names are unique, and so are breaks."""
    names = Counter(each.name for each in BREAKS)
    places = Counter((each.file, each.before, each.after) for each in BREAKS)
    assert {1} == set(names.values()) | set(places.values())


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_named_tests_pass_unbroken(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A test that fails anyway would notice nothing."""
    tests = dict.fromkeys(each.test for each in BREAKS if not each.needs_emulator)
    done = run(tests, copy_tree(tmp_path))
    assert 0 == done.returncode, done.stdout


@pytest.mark.soak
@pytest.mark.timeout(180)
@pytest.mark.parametrize("broken", EACH)
def test_a_break_is_noticed(broken: Break, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The named test fails, and not for want of an emulator or of an import."""
    if broken.needs_emulator:
        request.getfixturevalue("emulator")
    tree = copy_tree(tmp_path)
    apply(broken, tree)
    done = run((broken.test,), tree)
    assert TESTS_FAILED == done.returncode, f"nothing noticed: {broken.name}\n{done.stdout[-2000:]}"
