"""What the environment may say, and how a wrong word in it stops the start."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.settings import (
    ACTORS,
    FirestoreAddress,
    ModelName,
    Scaling,
    Secret,
    Settings,
    SettingsError,
    SqliteAddress,
    load,
    ours,
)

CANARY = "123456:CANARY-canary_CANARY"
ACCOUNT = json.dumps(
    {
        "type": "service_account",
        "project_id": "p1",
        "client_email": "a@p1.iam.gserviceaccount.com",
        "private_key": "-----BEGIN PRIVATE KEY-----\nCANARYcanaryCANARY\n-----END PRIVATE KEY-----\n",
    }
)


def test_an_empty_environment_is_a_working_one() -> None:
    """The defaults that the design fixes."""
    settings = load({})
    assert settings == Settings()
    assert settings.require_store() == SqliteAddress(Path("firstlight.db"))
    assert (settings.host, settings.port, settings.shards, settings.log_level) == (
        "127.0.0.1",
        8080,
        1,
        "info",
    )
    assert (settings.app_name, settings.model) == ("claude-agents", ModelName("offline"))
    assert settings.telegram_api_url == "https://api.telegram.org"
    assert (settings.skills_dir, settings.admin_token, settings.bot_id) == (None, None, 0)


def test_the_environment_of_the_process_is_the_default() -> None:
    """`load()` reads what the shell exported."""
    code = "from app.settings import load; print(load().port)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"FIRSTLIGHT_PORT": "9123"},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert ran.stdout == b"9123\n"


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("FIRSTLIGHT_STORE", "sqlite:///data/a.db", "store", SqliteAddress(Path("data/a.db"))),
        ("FIRSTLIGHT_STORE", "sqlite:////var/a.db", "store", SqliteAddress(Path("/var/a.db"))),
        ("FIRSTLIGHT_STORE", "firestore://p1", "store", FirestoreAddress("p1")),
        ("FIRSTLIGHT_STORE", "firestore://p1/db-2", "store", FirestoreAddress("p1", "db-2")),
        ("FIRSTLIGHT_STORE", "firestore://p1/(default)", "store", FirestoreAddress("p1", "(default)")),
        ("FIRSTLIGHT_SKILLS_DIR", "/skills", "skills_dir", Path("/skills")),
        ("FIRSTLIGHT_MODEL", "anthropic:claude-x-1", "model", ModelName("anthropic", "claude-x-1")),
        ("FIRSTLIGHT_SHARDS", "1024", "shards", 1024),
        ("FIRSTLIGHT_PORT", "0", "port", 0),
        ("FIRSTLIGHT_HOST", "::1", "host", "::1"),
        ("FIRSTLIGHT_LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("FIRSTLIGHT_ALLOWED_USERS", " 1, 2\n3,,4 ", "allowed_users", frozenset({1, 2, 3, 4})),
        ("FIRSTLIGHT_ALLOWED_USERS", "", "allowed_users", frozenset()),
        ("TELEGRAM_API_URL", "http://127.0.0.1:81/x/", "telegram_api_url", "http://127.0.0.1:81/x"),
        ("TELEGRAM_BOT_TOKEN", f"{CANARY}\n", "telegram_token", Secret(CANARY)),
        ("TELEGRAM_WEBHOOK_SECRET", "a-B_9", "webhook_secret", Secret("a-B_9")),
        ("TELEGRAM_WEBHOOK_SECRET", "", "webhook_secret", None),
        ("FIRSTLIGHT_ADMIN_TOKEN", " ", "admin_token", None),
        ("FIRESTORE_EMULATOR_HOST", "127.0.0.1:8080", "firestore_emulator", "127.0.0.1:8080"),
        ("FIRESTORE_EMULATOR_HOST", "[::1]:8080", "firestore_emulator", "[::1]:8080"),
    ],
)
def test_a_good_value_is_typed(name: str, text: str, field: str, value: object) -> None:
    """Each variable ends as a typed value; spaces around it do not matter."""
    assert getattr(load({name: text}), field) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FIRSTLIGHT_STORE", "postgres://user:CANARY@host/db"),
        ("FIRSTLIGHT_STORE", "firstlight.db"),
        ("FIRSTLIGHT_STORE", "sqlite://firstlight.db"),
        ("FIRSTLIGHT_STORE", "sqlite:///"),
        ("FIRSTLIGHT_STORE", "sqlite:////"),
        ("FIRSTLIGHT_STORE", "sqlite:///:memory:"),
        ("FIRSTLIGHT_STORE", "sqlite:///a.db?mode=ro"),
        ("FIRSTLIGHT_STORE", "sqlite:///folder/"),
        ("FIRSTLIGHT_STORE", "firestore://"),
        ("FIRSTLIGHT_STORE", "firestore://p1/db/more"),
        ("FIRSTLIGHT_STORE", "firestore:///db"),
        ("FIRSTLIGHT_MODEL", "claude"),
        ("FIRSTLIGHT_MODEL", "anthropic:"),
        ("FIRSTLIGHT_MODEL", "openai:gpt"),
        ("FIRSTLIGHT_SHARDS", "0"),
        ("FIRSTLIGHT_SHARDS", "1025"),
        ("FIRSTLIGHT_SHARDS", "1.5"),
        ("FIRSTLIGHT_SHARDS", "١"),
        ("FIRSTLIGHT_PORT", "65536"),
        ("FIRSTLIGHT_PORT", "-1"),
        ("FIRSTLIGHT_PORT", "http"),
        ("FIRSTLIGHT_HOST", "http://x"),
        ("FIRSTLIGHT_LOG_LEVEL", "loud"),
        ("FIRSTLIGHT_APP_NAME", "a b"),
        ("FIRSTLIGHT_ALLOWED_USERS", "@ada"),
        ("FIRSTLIGHT_ALLOWED_USERS", "1;2"),
        ("FIRSTLIGHT_ALLOWED_USERS", "-5"),
        ("FIRSTLIGHT_ADMIN_TOKEN", "CANARY two words"),
        ("FIRSTLIGHT_ADMIN_TOKEN", "CANARYключ"),
        ("FIRSTLIGHT_GOOGLE_CREDENTIALS", "/path/CANARY.json"),
        ("FIRSTLIGHT_GOOGLE_CREDENTIALS", '{"type": "authorized_user", "CANARY": 1}'),
        ("FIRSTLIGHT_GOOGLE_CREDENTIALS", ACCOUNT.replace("service_account", "external_account")),
        ("FIRSTLIGHT_GOOGLE_CREDENTIALS", "[" * 100_000),
        ("TELEGRAM_BOT_TOKEN", "CANARY"),
        ("TELEGRAM_BOT_TOKEN", "12:CANARY CANARY"),
        ("TELEGRAM_BOT_TOKEN", "0:CANARY"),
        ("TELEGRAM_WEBHOOK_SECRET", "CANARY!"),
        ("TELEGRAM_WEBHOOK_SECRET", "CANARYключ"),
        ("TELEGRAM_WEBHOOK_SECRET", "C" * 257),
        ("TELEGRAM_API_URL", "ftp://x"),
        ("TELEGRAM_API_URL", "https://ada:CANARY@x"),
        ("TELEGRAM_API_URL", "https://x?CANARY"),
        ("TELEGRAM_API_URL", "https://x:CANARY"),
        ("TELEGRAM_API_URL", "https://[CANARY"),
        ("TELEGRAM_API_URL", "https://"),
        ("ANTHROPIC_BASE_URL", "anthropic.com"),
        ("ANTHROPIC_API_KEY", "CANARY\x00"),
        ("FIRESTORE_EMULATOR_HOST", "localhost"),
        ("FIRESTORE_EMULATOR_HOST", "http://localhost:1"),
        ("FIRESTORE_EMULATOR_HOST", "localhost:0"),
        ("FIRSTLIGHT_CHAT_AGENT_MAX_INPUTS", "0"),
        ("FIRSTLIGHT_GATEWAY_SCALEDOWN_WINDOW", "1"),
        ("FIRSTLIGHT_GATEWAY_MIN_CONTAINERS", "many"),
    ],
)
def test_a_bad_value_stops_the_start_in_one_line(name: str, text: str) -> None:
    """The line names the variable and says what to do; no secret stands in it or in what caused it."""
    with pytest.raises(SettingsError) as caught:
        load({name: text})
    line = str(caught.value)
    assert line.startswith(f"{name} ")
    assert ": " in line
    assert "\n" not in line
    assert "CANARY" not in line
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_inside_modal_the_store_must_be_named() -> None:
    """A container's own disk is no place for it, so there is no default."""
    settings = load({"MODAL_IS_REMOTE": "1"})
    with pytest.raises(SettingsError, match=r"^FIRSTLIGHT_STORE is not set: set sqlite"):
        settings.require_store()
    named = load({"MODAL_IS_REMOTE": "1", "FIRSTLIGHT_STORE": "firestore://p1"})
    assert named.require_store() == FirestoreAddress("p1")


@pytest.mark.parametrize(
    ("need", "name"),
    [
        (Settings.require_telegram, "TELEGRAM_BOT_TOKEN"),
        (Settings.require_webhook_secret, "TELEGRAM_WEBHOOK_SECRET"),
        (Settings.require_admin_token, "FIRSTLIGHT_ADMIN_TOKEN"),
    ],
)
def test_a_command_requires_only_what_it_uses(need: object, name: str) -> None:
    """Nothing is required by `load`; asking for what is missing names it (A7)."""
    with pytest.raises(SettingsError, match=f"^{name} is not set: "):
        need(load({}))  # type: ignore[operator]


def test_only_a_real_model_needs_a_key() -> None:
    """`offline` needs nothing, `anthropic:MODEL` its key."""
    assert load({}).require_model() == ModelName("offline")
    named = {"FIRSTLIGHT_MODEL": "anthropic:m"}
    with pytest.raises(SettingsError, match=r"^ANTHROPIC_API_KEY is not set: "):
        load(named).require_model()
    assert load(named | {"ANTHROPIC_API_KEY": "k"}).require_model() == ModelName("anthropic", "m")


def test_the_emulator_beside_credentials_is_refused() -> None:
    """Either of the two would be used by mistake (C12)."""
    both = {"FIRESTORE_EMULATOR_HOST": "localhost:1", "FIRSTLIGHT_GOOGLE_CREDENTIALS": ACCOUNT}
    with pytest.raises(
        SettingsError, match=r"^FIRESTORE_EMULATOR_HOST is set beside FIRSTLIGHT_GOOGLE_CREDENTIALS"
    ):
        load(both)
    for name in both:
        load({name: both[name]})


def test_the_bot_is_known_by_its_token() -> None:
    """The id is the number before the colon."""
    assert load({"TELEGRAM_BOT_TOKEN": CANARY}).bot_id == 123456


def test_scaling_is_read_for_each_actor() -> None:
    """Six numbers for each of four actors; what is not named keeps its default."""
    settings = load(
        {"FIRSTLIGHT_CHAT_AGENT_MAX_CONTAINERS": "8", "FIRSTLIGHT_CHAT_AGENT_TARGET_INPUTS": "20"}
    )
    assert ACTORS == ("skill_registry", "session_cache", "chat_agent", "gateway")
    assert settings.scaling.chat_agent == Scaling(max_containers=8, target_inputs=20)
    assert settings.scaling.gateway == Scaling(min_containers=1, max_inputs=100, timeout=60)
    assert settings.scaling.session_cache.max_containers == 1


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"MIN_CONTAINERS": "3", "MAX_CONTAINERS": "2"}, "MAX_CONTAINERS"),
        ({"MAX_INPUTS": "10", "TARGET_INPUTS": "11"}, "TARGET_INPUTS"),
        ({"TARGET_INPUTS": "101"}, "TARGET_INPUTS"),
    ],
)
def test_scaling_that_contradicts_itself_is_refused(given: Mapping[str, str], name: str) -> None:
    """The line names one of the two variables, and the other."""
    with pytest.raises(SettingsError, match=f"^FIRSTLIGHT_CHAT_AGENT_{name} "):
        load({f"FIRSTLIGHT_CHAT_AGENT_{ending}": text for ending, text in given.items()})


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("FIRSTLIGHT_STOER", "FIRSTLIGHT_STOER is no setting of Firstlight, did you mean FIRSTLIGHT_STORE?"),
        (
            "FIRSTLIGHT_GATEWAY_MIN_CONTAINER",
            "FIRSTLIGHT_GATEWAY_MIN_CONTAINER is no setting of Firstlight, "
            "did you mean FIRSTLIGHT_GATEWAY_MIN_CONTAINERS?",
        ),
        ("FIRSTLIGHT_ZZZZQQQQXXXXWWWW", "FIRSTLIGHT_ZZZZQQQQXXXXWWWW is no setting of Firstlight"),
    ],
)
def test_a_misspelt_variable_is_told(name: str, warning: str) -> None:
    """A warning with the nearest name, never with the value."""
    assert load({name: "CANARY"}).warnings(serves=False) == (warning,)


@pytest.mark.parametrize(
    ("environ", "warned"),
    [({}, True), ({"FIRSTLIGHT_ALLOWED_USERS": ""}, False), ({"FIRSTLIGHT_ALLOWED_USERS": "1"}, False)],
)
def test_who_answers_everybody_is_warned(environ: Mapping[str, str], warned: bool) -> None:
    """Only a service that answers, and only when nobody was listed; an empty list is a list."""
    settings = load(environ)
    assert (settings.warnings() != (), settings.warnings(serves=False)) == (warned, ())


def test_secrets_do_not_show() -> None:
    """Neither repr nor str of the settings holds one; `secrets` gives them all for the log to leave out."""
    key = "CANARYcanaryCANARY"
    settings = load(
        {
            "TELEGRAM_BOT_TOKEN": CANARY,
            "TELEGRAM_WEBHOOK_SECRET": "CANARY-1",
            "FIRSTLIGHT_ADMIN_TOKEN": "CANARY-2",
            "ANTHROPIC_API_KEY": "CANARY-3",
            "FIRSTLIGHT_GOOGLE_CREDENTIALS": ACCOUNT,
        }
    )
    assert "canary" not in f"{settings!r} {settings} {settings.google_credentials!s}".lower()
    assert {CANARY, "CANARY-1", "CANARY-2", "CANARY-3", ACCOUNT} < set(settings.secrets())
    assert any(key in secret and "\n" in secret for secret in settings.secrets())


@pytest.mark.parametrize(
    ("environ", "there"),
    [
        ({}, False),
        ({"MODAL_TOKEN_ID": "ak-1"}, True),
        ({"MODAL_TOKEN_ID": ""}, False),
        ({"MODAL_CONFIG_PATH": "{file}"}, True),
        ({"MODAL_CONFIG_PATH": "{folder}/none"}, False),
        ({"HOME": "{folder}"}, True),
        ({"HOME": "{folder}", "MODAL_CONFIG_PATH": "{folder}/none"}, False),
    ],
)
def test_an_account_on_modal_is_looked_for_where_its_client_does(
    tmp_path: Path, environ: Mapping[str, str], there: bool
) -> None:
    """In the environment, or in its file; whether the account works is its client's to say."""
    file = tmp_path / ".modal.toml"
    file.write_text("[default]\n")
    given = {name: text.format(file=file, folder=tmp_path) for name, text in environ.items()}
    assert there == load(given).modal_account


def test_ours_are_the_settings_and_nothing_else() -> None:
    """Secrets among them; so that they can be handed to a deploy, or kept from one."""
    given = {"FIRSTLIGHT_SHARDS": "2", "TELEGRAM_BOT_TOKEN": "1:x", "FIRSTLIGHT_GATEWAY_MIN_CONTAINERS": "2"}
    assert given == ours(given | {"PATH": "/bin", "FIRSTLIGHT_STRANGE": "1", "MODAL_TOKEN_ID": "ak-1"})
