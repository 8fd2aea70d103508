"""A process that forks: the child can't use its parent's store, is told so at once, and opens one of its own."""

import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, run

WITHIN_S = 30.0  # two interpreters; it takes a second


OUTCOMES = {
    "sqlite": {"parent": "read", "child": "StoreDenied", "child's own": "read", "parent again": "read"},
    "firestore": {"parent": "StoreDown", "child": "StoreDenied", "parent again": "StoreDown"},
}
"""By who tries; no Firestore is there, and being allowed to look for it is what counts."""


@pytest.mark.parametrize("kind", OUTCOMES)
async def test_a_child_is_told_that_a_store_is_its_parent_s(kind: str, tmp_path: Path) -> None:
    """C11: a clear error instead of a hang or two processes on one connection; the parent goes on as before."""
    ran = await run(
        *(sys.executable, "-m", "tests.app.store.forked", kind, str(tmp_path / "x.db")),
        within_s=WITHIN_S,
        cwd=ROOT,
    )
    assert (0, False) == (ran.exit_code, "Traceback" in ran.stderr)
    told = dict(line.split(": ", 1) for line in ran.stdout.splitlines())
    assert "another event loop" in told["child"]
    assert OUTCOMES[kind] == {who: what.partition(":")[0] for who, what in told.items()}
