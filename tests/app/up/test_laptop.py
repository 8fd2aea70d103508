"""What a deploy to one's own plane is given: the user's settings, and defaults that share nothing with others."""

from pathlib import Path

import pytest

from app.settings import SettingsError
from app.up.env_file import BadEnvFile, read_env_file
from app.up.laptop import SECRETS, Simulated, laptop

REAL = {"TELEGRAM_BOT_TOKEN": "8:real", "TELEGRAM_WEBHOOK_SECRET": "hook"}
SIMULATED = Simulated("7:simulated", "http://127.0.0.1:7")


def test_nothing_given_is_enough(tmp_path: Path) -> None:
    """A store in the folder, the offline model, the simulated bot, and secrets of the moment."""
    made = laptop({}, tmp_path, SIMULATED)
    assert f"sqlite:///{tmp_path}/plane.db" == made.variables["FIRSTLIGHT_STORE"]
    assert ("offline", 7) == (made.settings.model.provider, made.settings.bot_id)
    assert {"TELEGRAM_API_URL": SIMULATED.api_url} == made.deploying
    assert (
        made.variables["TELEGRAM_WEBHOOK_SECRET"]
        != laptop({}, tmp_path, SIMULATED).variables["TELEGRAM_WEBHOOK_SECRET"]
    )


def test_every_secret_that_the_app_names_is_made(tmp_path: Path) -> None:
    """With the variables that it is to hold, and nothing of another."""
    made = laptop({"ANTHROPIC_API_KEY": "key"}, tmp_path, SIMULATED).secrets
    assert {name: set(keys) for name, keys in SECRETS.items()} | {
        "firstlight-store": {"FIRSTLIGHT_STORE"}
    } == {name: set(keys) for name, keys in made.items()}


def test_the_simulated_bots_token_and_its_api_go_together(tmp_path: Path) -> None:
    """A deploy from a shell without our settings would answer at the real Telegram otherwise."""
    held = laptop({}, tmp_path, SIMULATED).secrets["firstlight-telegram"]
    assert (SIMULATED.token, SIMULATED.api_url) == (held["TELEGRAM_BOT_TOKEN"], held["TELEGRAM_API_URL"])


def test_what_is_given_wins(tmp_path: Path) -> None:
    """With a real bot, nothing is simulated and the list of users holds."""
    made = laptop(REAL | {"FIRSTLIGHT_ALLOWED_USERS": "5", "FIRSTLIGHT_SHARDS": "3"}, tmp_path, None)
    assert (8, frozenset({5}), 3) == (made.settings.bot_id, made.settings.allowed_users, made.settings.shards)
    assert {"FIRSTLIGHT_ALLOWED_USERS": "5", "FIRSTLIGHT_SHARDS": "3"} == made.deploying


def test_made_up_people_may_write(tmp_path: Path) -> None:
    """The list of users is of real ones."""
    assert laptop({"FIRSTLIGHT_ALLOWED_USERS": "5"}, tmp_path, SIMULATED).settings.allowed_users is None


def test_a_store_is_named_absolutely(tmp_path: Path) -> None:
    """Containers have working folders of their own."""
    made = laptop({"FIRSTLIGHT_STORE": "sqlite:///here.db"}, tmp_path, SIMULATED)
    assert f"sqlite:///{Path.cwd()}/here.db" == made.variables["FIRSTLIGHT_STORE"]


def test_made_up_people_do_not_write_into_a_shared_store(tmp_path: Path) -> None:
    """An emulator is one's own, a project of Google's is not."""
    shared = {"FIRSTLIGHT_STORE": "firestore://project"}
    with pytest.raises(SettingsError, match="FIRSTLIGHT_STORE is shared with others"):
        laptop(shared, tmp_path, SIMULATED)
    laptop(shared | {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:1"}, tmp_path, SIMULATED)
    laptop(shared | REAL, tmp_path, None)


def test_nobody_allowed_is_not_everybody(tmp_path: Path) -> None:
    """An empty list is one."""
    assert (
        frozenset() == laptop(REAL | {"FIRSTLIGHT_ALLOWED_USERS": ""}, tmp_path, None).settings.allowed_users
    )


def test_a_real_bot_needs_a_secret_that_is_known_elsewhere(tmp_path: Path) -> None:
    """Telegram is told of it by another command."""
    with pytest.raises(SettingsError, match="TELEGRAM_WEBHOOK_SECRET is not set"):
        laptop({"TELEGRAM_BOT_TOKEN": "8:real"}, tmp_path, None)


def test_a_wrong_value_is_named(tmp_path: Path) -> None:
    """Before anything is begun."""
    with pytest.raises(SettingsError, match="FIRSTLIGHT_SHARDS"):
        laptop({"FIRSTLIGHT_SHARDS": "none"}, tmp_path, SIMULATED)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=b", {"A": "b"}),
        ("export A = b ", {"A": "b"}),
        ("A='b c'", {"A": "b c"}),
        ('A="b=c"', {"A": "b=c"}),
        ("A=", {"A": ""}),
        ("# A=b", {}),
        ("", {}),
        ("A=b\nA=c", {"A": "c"}),
    ],
)
def test_lines_of_an_env_file(tmp_path: Path, line: str, expected: dict[str, str]) -> None:
    """As shells and other tools read them."""
    file = tmp_path / ".env"
    file.write_text(line)
    assert expected == read_env_file(file)


@pytest.mark.parametrize("content", [b"hidden", b"A B=hidden", b"=hidden", b"1A=hidden", b"\xffhidden"])
def test_a_bad_line_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    """It may hold a secret."""
    file = tmp_path / ".env"
    file.write_bytes(b"OK=1\n" + content)
    with pytest.raises(BadEnvFile) as refused:
        read_env_file(file)
    assert (True, False) == (str(file) in str(refused.value), "hidden" in str(refused.value))
