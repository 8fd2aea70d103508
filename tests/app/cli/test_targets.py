"""Commands that work on a service, a plane or Modal: what each says when it can't."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import cli
from app.targets.note import FOLDER, write_note
from tests.app.targets.test_note import gone_pid, note

NOTHING: dict[str, str | None] = {
    "MODAL_TOKEN_ID": None,
    "MODAL_SERVER_URL": None,
    "FIRSTLIGHT_STORE": None,
    "FIRSTLIGHT_ADMIN_TOKEN": "token",
    "FIRSTLIGHT_PORT": "1",
}


def _run(*words: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, words, env={**NOTHING, **environ})


@pytest.mark.parametrize("words", [("warm",), ("stats",), ("scale", "show")])
def test_nothing_to_ask_is_one_line(words: tuple[str, ...]) -> None:
    """It says what was looked for."""
    ended = _run(*words)
    assert (1, 1, True) == (
        ended.exit_code,
        len(ended.output.splitlines()),
        ended.output.startswith("firstlight: found nothing to ask: no plane of this folder"),
    )


@pytest.mark.parametrize("words", [("warm",), ("stats",), ("doctor",), ("scale", "show")])
def test_a_plane_that_is_gone_is_one_line(words: tuple[str, ...]) -> None:
    """Its note is seen to be stale."""
    write_note(note(pid=gone_pid()), FOLDER)
    ended = _run(*words, "--target", "plane")
    assert (1, 1) == (ended.exit_code, len(ended.output.splitlines()))
    assert "is gone): begin one with `firstlight up`" in ended.output


def test_a_service_is_one_process() -> None:
    """It can't be scaled, and is not shown where none runs."""
    Path("scaling.toml").write_text("[chat_agent]\nmin_containers = 2\n")
    local = ("--target", "local")
    shown, applied, compared = (_run("scale", word, *local) for word in ("show", "apply", "diff"))
    assert [1, 1, 1] == [shown.exit_code, applied.exit_code, compared.exit_code]
    assert (
        "firstlight: the service at http://127.0.0.1:1 does not answer: is `firstlight serve`" in shown.output
    )
    assert "there is nothing to scale" in applied.output


@pytest.mark.parametrize("word", ["diff", "apply"])
def test_the_file_is_read_before_anything_is_asked(word: str) -> None:
    """What is wrong with it is the same everywhere."""
    assert "firstlight: there is no scaling.toml" in _run("scale", word, "--target", "modal").output
    Path("scaling.toml").write_text("[nobody]\n")
    refused = _run("scale", word, "--target", "modal")
    assert (1, True) == (
        refused.exit_code,
        refused.output.startswith("firstlight: scaling.toml: 'nobody' is no table"),
    )


def test_after_a_deploy_no_file_is_no_failure() -> None:
    """The step may stand in every pipeline; a file that is there is applied."""
    words = ("scale", "apply", "--after-deploy", "--target", "modal")
    ended = _run(*words)
    assert (0, "") == (ended.exit_code, ended.output)
    Path("scaling.toml").write_text("[nobody]\n")
    assert 1 == _run(*words).exit_code


@pytest.mark.parametrize(
    "words",
    [
        ("stats", "--url", "http://there", "--target", "modal"),
        ("stats", "--target", "elsewhere"),
        ("stats", "--url", "somewhere"),
        ("warm", "--url", "http://127.0.0.1:99999"),
        ("warm", "--url", "http://[::1"),
        ("warm", "--url", ""),
        ("warm", "nobody"),
        ("smoke", "--target", "modal"),
        ("up", "--port", "70000"),
    ],
)
def test_wrong_usage_exits_with_2(words: tuple[str, ...]) -> None:
    """Before anything is asked or begun."""
    assert 2 == _run(*words).exit_code


def test_a_service_that_is_away_is_one_plain_line() -> None:
    """The address and what to look for, and nothing of a client's insides."""
    ended = _run("stats", "--url", "http://127.0.0.1:1")
    assert (1, 1, False) == (ended.exit_code, len(ended.output.splitlines()), "ssl:" in ended.output)
    assert ended.output.endswith("is `firstlight serve` running there?\n")


def test_the_doctor_does_not_take_a_file_here_for_the_store_of_modal() -> None:
    """It would find nothing lost in it."""
    ended = _run("doctor", "--target", "modal")
    assert (1, True) == (ended.exit_code, "set FIRSTLIGHT_STORE to firestore://" in ended.output)


def test_an_env_file_without_sense_is_one_line() -> None:
    """Nothing is begun."""
    Path(".env").write_text("FIRSTLIGHT_SHARDS 3\n")
    ended = _run("up")
    assert (1, "firstlight: .env:1: write NAME=value\n") == (ended.exit_code, ended.output)


def test_the_command_loads_neither_modals_client_nor_the_plane() -> None:
    """They take half a second, and most commands need neither."""
    heavy = ("modal", "app.plane", "grpclib", "watchfiles")
    asked = f"import sys, app.cli; print([name for name in {heavy} if name in sys.modules])"
    assert "[]" == subprocess.check_output([sys.executable, "-c", asked], text=True).strip()
