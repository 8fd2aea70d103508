"""An operator's day: `firstlight up`, the commands that find it by themselves, a script of one's own, and the end."""

import re
import shlex
import sys
from pathlib import Path

import aiohttp
import pytest

from app.smoke.talking import Webhook, message
from app.targets.note import FOLDER, NAME
from tests.commands import ROOT
from tests.e2e.up_kit import SECRET, Up, copy_project, firstlight, processes_of, run, up

pytestmark = [pytest.mark.modal, pytest.mark.slow, pytest.mark.timeout(240)]

ACTORS = ["SkillRegistryActor", "SessionCacheActor[0]", "ChatAgent"]


async def test_a_plane_is_brought_up_used_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an empty folder to an empty machine: what is printed holds, and every command finds it by itself."""
    monkeypatch.chdir(tmp_path)
    (copy_project(tmp_path) / "scaling.toml").write_text("[chat_agent]\nscaledown_window = 600\n")
    async with up(tmp_path, "--watch") as plane:
        webhook = await plane.printed(r"Webhook +(\S+)")
        await plane.printed(r"TelegramGateway +(ready)")
        await _webhook_answers(webhook)
        await _actors_answer(plane)
        await _a_second_one_is_refused(plane)
        await _a_change_of_the_scaling_is_applied(plane)
        await _a_script_needs_nothing_of_ours(plane)
        await _what_does_not_compile_is_told_in_a_line_and_the_old_code_goes_on(plane, webhook)
        await _nothing_is_left(plane)
        assert "no plane runs for this folder" in (await firstlight("stats", "--target", "plane")).stderr


async def _webhook_answers(url: str) -> None:
    """At the address that was printed, to who knows the secret."""
    async with aiohttp.ClientSession() as http:
        webhook = Webhook(http, url, SECRET)
        update = message(5, "/help")
        assert (200, 401) == (await webhook.post(update), await webhook.post(update, secret="wrong"))


async def _actors_answer(plane: Up) -> None:
    """`warm`, `stats` and `doctor` show what they show of a service."""
    warmed = (await firstlight("warm", "--json")).document["reports"]
    assert [("warm", [])] * 3 == [(each["status"], each["errors"]) for each in warmed]
    told = await firstlight("stats", "--json", "--target", "plane")
    assert ACTORS == list(told.document["actors"])
    looked = await firstlight("doctor", "--json")
    assert (0, [], {}) == (looked.exit_code, looked.document["lost"], looked.document["actors"])


async def _a_second_one_is_refused(plane: Up) -> None:
    """Two planes of one folder would take each other's note."""
    second = await firstlight("up", "--port", "0")
    assert (1, f"firstlight: a plane of this folder runs already, as process {plane.process.pid}\n") == (
        second.exit_code,
        second.stderr,
    )


async def _what_does_not_compile_is_told_in_a_line_and_the_old_code_goes_on(plane: Up, url: str) -> None:
    """With its place; the webhook answers as before, and what is mended is deployed."""
    file = plane.folder / "actors" / "score.py"
    text = file.read_text()
    file.write_text(f"{text}\ndef broken(:\n")
    place = f"actors/score.py:{len(text.splitlines()) + 2}"
    assert await plane.printed(rf"(\n[0-9:]+ not deployed: {place}: SyntaxError: invalid syntax\n)")
    await _webhook_answers(url)
    deploys = plane.output.count("deployed in")
    file.write_text(text)
    await plane.printed("(" + r"deployed in[\s\S]*" * (deploys + 1) + ")")


async def _a_change_of_the_scaling_is_applied(plane: Up) -> None:
    """The deploy applied the file; what it says later is applied when it is written, and `diff` agrees."""
    assert "ChatAgent scaledown_window is now 600" in plane.output
    file = plane.folder / "scaling.toml"
    file.write_text(file.read_text() + "[session_cache]\nbuffer_containers = 1\n")
    await plane.printed(r"(SessionCacheActor\[0\] buffer_containers is now 1)")
    found = await firstlight("scale", "diff", "--json")
    assert (0, True, 1) == (found.exit_code, found.document["same"], found.document["version"])
    other = plane.folder / "other.toml"
    other.write_text("[session_cache]\nbuffer_containers = 0\n")
    differs = await firstlight("scale", "diff", "--file", other.name)
    assert (1, "SessionCacheActor[0] buffer_containers is 1, wanted 0\n") == (
        differs.exit_code,
        differs.stdout,
    )


async def _a_script_needs_nothing_of_ours(plane: Up) -> None:
    """The documentation's script runs as it is, with the environment that was printed."""
    page = (ROOT / "docs" / "admin-scripts.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exports = [shlex.split(line)[1] for line in plane.output.splitlines() if line.startswith("    export ")]
    printed = dict(export.split("=", 1) for export in exports)
    assert printed.pop("TELEGRAM_API_URL").startswith("http://127.0.0.1:")  # for a deploy by hand
    assert printed == plane.note["environment"]
    ran = await run(sys.executable, "-I", "-c", script, cwd=plane.folder, environ=printed)
    assert (0, "SessionCacheActor 0 warm") == (ran.exit_code, ran.stdout[:24]), ran.stderr


async def _nothing_is_left(plane: Up) -> None:
    """Ctrl-C ends the containers with it, and the note is gone."""
    before = processes_of(plane.folder / FOLDER)
    assert 0 == await plane.interrupt(), plane.output
    assert not (plane.folder / FOLDER / NAME).exists()
    if sys.platform == "linux":
        assert (True, []) == (len(before) >= 4, processes_of(plane.folder / FOLDER))
