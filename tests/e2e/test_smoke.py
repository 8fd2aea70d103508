"""The smoke test on a plane: what it expects of a deployment holds, over two deploys."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import cli

pytestmark = [pytest.mark.modal, pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_deployment_is_as_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm, answered once, scaled, the volume's skills, and after a second deploy the first request reads nothing."""
    monkeypatch.chdir(tmp_path)
    smoke = CliRunner().invoke(cli, ["smoke", "--json"], env={"FIRSTLIGHT_SHARDS": None})
    found = json.loads(smoke.stdout)
    (outcome,) = found["outcomes"]
    assert [] == [each for each in outcome["checks"] if each["expected"] != each["seen"]]
    assert (0, "", True) == (smoke.exit_code, outcome["stopped"], found["ok"]), smoke.stderr
    names = [each["name"] for each in outcome["checks"]]
    assert (23, "store reads of the first request after a deploy") == (len(names), names[-3])
