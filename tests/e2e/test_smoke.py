"""The smoke test on a plane: what it expects of a deployment holds, over two deploys."""

import sys
from pathlib import Path

import pytest

from tests.e2e.up_kit import run

pytestmark = [pytest.mark.modal, pytest.mark.slow, pytest.mark.timeout(240)]


async def test_a_deployment_is_as_expected(tmp_path: Path) -> None:
    """Warm, answered once, scaled, and after a second deploy the first request reads nothing."""
    smoke = await run(str(Path(sys.executable).with_name("firstlight")), "smoke", "--json", cwd=tmp_path)
    (outcome,) = smoke.document["outcomes"]
    assert [] == [each for each in outcome["checks"] if each["expected"] != each["seen"]]
    assert (0, "", True) == (smoke.exit_code, outcome["stopped"], smoke.document["ok"]), smoke.stderr
    names = [each["name"] for each in outcome["checks"]]
    assert (21, "store reads of the first request after a deploy") == (len(names), names[-3])
