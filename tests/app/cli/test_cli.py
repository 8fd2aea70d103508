"""The commands as a person meets them: exit codes, one line for what is wrong, one JSON document with --json."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import cli, main
from app.service import Service
from app.settings import SettingsError
from app.telegram.simulator import TelegramSimulator
from tests.app.service_kit import ADMIN, REPLY_S, serving, settings
from tests.commands import run

UNSET = (
    "MODAL_TOKEN_ID",
    "MODAL_SERVER_URL",
    "FIRSTLIGHT_ADMIN_TOKEN",
    "FIRSTLIGHT_STORE",
    "FIRSTLIGHT_SKILLS_DIR",
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_WEBHOOK_SECRET",
    "TELEGRAM_API_URL",
)
NOTHING: dict[str, str | None] = dict.fromkeys(UNSET)


def _run(*words: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, words, env={**NOTHING, **environ})


async def _beside(*words: str, **environ: str) -> Result:
    """Run a command while this loop goes on serving it."""
    return await asyncio.to_thread(_run, *words, **environ)


@pytest.fixture
async def service(telegram: TelegramSimulator, tmp_path: Path) -> AsyncIterator[Service]:
    """A running service."""
    async with serving(telegram, settings(tmp_path)) as running:
        yield running


def test_help_names_every_command() -> None:
    """The commands that users rely on are there."""
    shown = _run("--help").output
    expected = (
        "dev",
        "up",
        "serve",
        "poll",
        "demo",
        "warm",
        "stats",
        "doctor",
        "scale",
        "skills",
        "webhook",
        "smoke",
    )
    assert expected == tuple(name for name in expected if f"  {name} " in shown)


@pytest.mark.parametrize(
    "words", [("bogus",), ("serve", "--port", "x"), ("warm", "--shard", "-1"), ("skills", "eat")]
)
def test_wrong_usage_exits_with_2(words: tuple[str, ...]) -> None:
    """Wrong words are told apart from a failure."""
    assert 2 == _run(*words).exit_code


def test_a_wrong_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for users: the line names the variable and what to do."""
    monkeypatch.setenv("FIRSTLIGHT_PORT", "eighty")
    monkeypatch.setattr("sys.argv", ["firstlight", "skills", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert 1 == ended.value.code
    assert ["firstlight: FIRSTLIGHT_PORT is no whole number: set a port from 0 to 65535"] == (
        capsys.readouterr().err.splitlines()
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("eat",), "No such command 'eat' (see `firstlight --help`)"),
        (("skills", "show"), "Missing argument 'NAME' (see `firstlight skills show --help`)"),
        (("replay", "--connections"), "Option '--connections' requires an argument"),
        (("chaos", "--minutes", "inf", "--store", "none"), "Invalid value for '--minutes': inf is not in"),
        (("chaos", "--minutes", "nan", "--store", "none"), "Invalid value for '--minutes': nan is no number"),
        (("chaos", "--intensity", "nan", "--store", "none"), "Invalid value for '--intensity': nan is no"),
        (("warm", "nobody"), "no actor named 'nobody'; there are SkillRegistryActor, SessionCacheActor"),
    ],
)
def test_wrong_usage_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    line: str,
) -> None:
    """It names what is wrong and where to read on, as a log or a terminal at night shows it."""
    monkeypatch.setattr("sys.argv", ["firstlight", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    (said,) = capsys.readouterr().err.splitlines()
    assert (2, True, True) == (ended.value.code, said.startswith("firstlight: "), line in said)


def test_serve_without_a_secret_does_not_start() -> None:
    """A7: a webhook without a secret would let anybody write updates."""
    ended = _run("serve", "--port", "0", TELEGRAM_BOT_TOKEN="42:abc")
    assert isinstance(ended.exception, SettingsError)
    assert "TELEGRAM_WEBHOOK_SECRET" == ended.exception.variable


def test_skills_list_gives_one_document(tmp_path: Path) -> None:
    """Each skill by the fixed fields, and each file set aside with its reason."""
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "SKILL.md").write_text("---\nname: good\n---\nFirst line\n")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "SKILL.md").write_bytes(b"a\0b")
    document = json.loads(_run("skills", "list", "--json", FIRSTLIGHT_SKILLS_DIR=str(tmp_path)).stdout)
    expected = {"name": "good", "description": "First line", "deployment": "remote", "path": "good/SKILL.md"}
    assert [expected] == document["skills"]
    assert ["bad/SKILL.md"] == [each["file"] for each in document["set_aside"]]


@pytest.mark.parametrize(("content", "code"), [("---\nname: a\ndescription: b\n---\nc\n", 0), ("a\0b", 1)])
def test_skills_lint_tells_good_from_bad(tmp_path: Path, content: str, code: int) -> None:
    """It exits with 1 when a file was set aside."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "SKILL.md").write_text(content)
    assert code == _run("skills", "lint", FIRSTLIGHT_SKILLS_DIR=str(tmp_path)).exit_code


def test_skills_lint_fails_for_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A wrong path is not an empty folder."""
    assert 1 == _run("skills", "lint", FIRSTLIGHT_SKILLS_DIR=str(tmp_path / "nowhere")).exit_code


def test_skills_show_suggests_near_names() -> None:
    """A name that is nearly right is answered with the right one."""
    ended = _run("skills", "show", "recipe-helpr")
    assert 1 == ended.exit_code
    assert "did you mean recipe-helper" in ended.output


def test_skills_show_by_name_in_any_case() -> None:
    """The whole skill, for people and as JSON."""
    assert "Recipe" in _run("skills", "show", "RECIPE-helper").output
    assert (
        "recipe-helper"
        == json.loads(_run("skills", "show", "recipe-helper", "--json").stdout)["summary"]["name"]
    )


async def test_doctor_finds_a_served_store_healthy(
    service: Service, telegram: TelegramSimulator, tmp_path: Path
) -> None:
    """Beside a running service: every accepted update has its end."""
    telegram.say(5, "/help")
    await telegram.wait_for_reply(5, 1, REPLY_S)
    ended = await _beside("doctor", "--json", FIRSTLIGHT_STORE=f"sqlite:///{tmp_path / 'kit.db'}")
    assert 0 == ended.exit_code
    found = json.loads(ended.stdout)
    assert {"ok": True, "lost": [], "unknown": [], "stuck": [], "dead": []}.items() <= found.items()


async def test_warm_and_stats_ask_the_running_service(service: Service) -> None:
    """By its /admin routes, with the token."""
    reach = {"FIRSTLIGHT_ADMIN_TOKEN": ADMIN, "FIRSTLIGHT_PORT": service.url.rsplit(":", 1)[1]}
    reports = json.loads((await _beside("warm", "all", "--json", **reach)).stdout)["reports"]
    assert ["SkillRegistryActor", "SessionCacheActor", "ChatAgent"] == [each["actor"] for each in reports]
    actors = json.loads((await _beside("stats", "--json", **reach)).stdout)["actors"]
    assert ["SkillRegistryActor", "SessionCacheActor[0]", "ChatAgent"] == list(actors)
    assert 0 == (await _beside("warm", "SessionCacheActor", "--shard", "0", "--force", **reach)).exit_code
    assert 0 == (await _beside("stats", **reach)).exit_code
    shown = json.loads((await _beside("scale", "show", "--json", "--target", "local", **reach)).stdout)
    assert [("this process", 1)] == [(each["name"], each["containers"]) for each in shown["pools"]]


async def test_what_can_not_be_asked_is_said_in_one_line(service: Service) -> None:
    """A wrong token, a shard that is not there and a service that is not are three different lines, and exit 1."""
    port = service.url.rsplit(":", 1)[1]
    wrong = await _beside("stats", FIRSTLIGHT_ADMIN_TOKEN="wrong-token", FIRSTLIGHT_PORT=port)
    unknown = await _beside(
        "warm", "session_cache", "--shard", "7", FIRSTLIGHT_ADMIN_TOKEN=ADMIN, FIRSTLIGHT_PORT=port
    )
    nobody = await _beside("stats", FIRSTLIGHT_ADMIN_TOKEN=ADMIN, FIRSTLIGHT_PORT="1")
    assert [1, 1, 1] == [each.exit_code for each in (wrong, unknown, nobody)]
    assert "answered 401" in wrong.output
    assert "session_cache has no shard 7" in unknown.output
    assert "is `firstlight serve` running there?" in nobody.output


async def test_webhook_is_set_shown_and_deleted(telegram: TelegramSimulator) -> None:
    """The route is added to the address, and Telegram knows it afterwards."""
    reach = {
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "TELEGRAM_API_URL": telegram.url,
        "TELEGRAM_WEBHOOK_SECRET": "s",
    }
    assert 0 == (await _beside("webhook", "set", "http://127.0.0.1:9/", **reach)).exit_code
    known = json.loads((await _beside("webhook", "info", "--json", **reach)).stdout)
    assert "http://127.0.0.1:9/webhook/telegram" == known["url"]
    assert "http://127.0.0.1:9" in (await _beside("webhook", "info", **reach)).output
    assert 0 == (await _beside("webhook", "delete", **reach)).exit_code
    assert "" == json.loads((await _beside("webhook", "info", "--json", **reach)).stdout)["url"]


async def test_a_refused_token_is_one_line_without_it(telegram: TelegramSimulator) -> None:
    """The token never reaches the terminal."""
    ended = await _beside("webhook", "info", TELEGRAM_BOT_TOKEN="42:canary", TELEGRAM_API_URL=telegram.url)
    assert 1 == ended.exit_code
    assert "canary" not in ended.output


async def test_poll_ends_when_the_token_is_refused(telegram: TelegramSimulator, tmp_path: Path) -> None:
    """B4: a revoked token is an alarm and an end, not a process that fetches nothing for ever."""
    environ = {
        "TELEGRAM_BOT_TOKEN": "42:revoked",
        "TELEGRAM_API_URL": telegram.url,
        "FIRSTLIGHT_STORE": f"sqlite:///{tmp_path / 'poll.db'}",
    }
    command = str(Path(sys.executable).with_name("firstlight"))
    ended = await run(command, "poll", within_s=REPLY_S, env=environ)
    assert 1 == ended.exit_code
    assert ended.stderr.splitlines()[-1].startswith("firstlight: Telegram refuses TELEGRAM_BOT_TOKEN")


@pytest.mark.parametrize("url", ["https://", "bot.example.org", ""])
def test_webhook_set_wants_an_address(url: str) -> None:
    """A URL without a host is wrong usage, and Telegram is not asked."""
    assert 2 == _run("webhook", "set", url).exit_code
