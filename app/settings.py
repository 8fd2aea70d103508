"""All that the environment says, read once, typed and checked; nothing else reads the environment."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from app import lazily
from app import setting_values as values
from app.setting_values import (
    FirestoreAddress,
    ModelName,
    Scaling,
    Secret,
    ServiceAccount,
    SqliteAddress,
    StoreAddress,
)

__all__ = [
    "ACTORS",
    "FirestoreAddress",
    "ModelName",
    "Scaling",
    "ScalingOfActors",
    "Secret",
    "ServiceAccount",
    "Settings",
    "SettingsError",
    "SqliteAddress",
    "StoreAddress",
    "carried",
    "load",
    "ours",
]

DEFAULT_STORE: Final = SqliteAddress(Path("firstlight.db"))


class SettingsError(Exception):
    """A variable is wrong or missing: one line naming it and what to do, without a secret's value."""

    def __init__(self, variable: str, problem: str, remedy: str) -> None:
        super().__init__(f"{variable} {problem}: {remedy}")
        self.variable = variable


class ScalingOfActors(msgspec.Struct, frozen=True, kw_only=True):
    """The scaling of each placed class."""

    skill_registry: Scaling = Scaling()
    session_cache: Scaling = Scaling(max_containers=1)  # of each shard: two owners are safe, one is faster
    chat_agent: Scaling = Scaling()
    gateway: Scaling = Scaling()


ACTORS: Final = ScalingOfActors.__struct_fields__


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says; `require_*` raise SettingsError when a command needs what is not there."""

    store: StoreAddress | None = DEFAULT_STORE
    skills_dir: Path | None = None
    model: ModelName = ModelName()
    shards: int = 1
    admin_token: Secret | None = None
    allowed_users: frozenset[int] | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    log_level: str = "info"
    app_name: str = "claude-agents"
    google_credentials: ServiceAccount | None = None
    firestore_emulator: str | None = None
    telegram_token: Secret | None = None
    webhook_secret: Secret | None = None
    telegram_api_url: str = "https://api.telegram.org"
    anthropic_key: Secret | None = None
    anthropic_url: str = "https://api.anthropic.com"
    scaling: ScalingOfActors = ScalingOfActors()
    inside_modal: bool = False
    modal_account: bool = False
    modal_server: str = ""
    unknown: tuple[str, ...] = ()

    def require_store(self) -> StoreAddress:
        """The store; inside Modal a container's own disk is no place for it, so that it must be named."""
        return self.store or _missing("FIRSTLIGHT_STORE")

    def require_telegram(self) -> Secret:
        """The bot's token."""
        return self.telegram_token or _missing("TELEGRAM_BOT_TOKEN")

    def require_webhook_secret(self) -> Secret:
        """The secret that Telegram repeats in each request; without one anybody could write updates."""
        return self.webhook_secret or _missing("TELEGRAM_WEBHOOK_SECRET")

    def require_admin_token(self) -> Secret:
        """The bearer token of the /admin routes."""
        return self.admin_token or _missing("FIRSTLIGHT_ADMIN_TOKEN")

    def require_model(self) -> ModelName:
        """The model, with its key at hand if it needs one."""
        if self.model.provider == "anthropic" and self.anthropic_key is None:
            _missing("ANTHROPIC_API_KEY")
        return self.model

    @property
    def bot_id(self) -> int:
        """The bot's numeric id, which is the first part of its token (Bot API); 0 without a token."""
        return int(self.telegram_token.reveal().partition(":")[0]) if self.telegram_token else 0

    def secrets(self) -> tuple[str, ...]:
        """Every secret's text, for the log to leave out."""
        held = (self.admin_token, self.telegram_token, self.webhook_secret, self.anthropic_key)
        google = self.google_credentials
        account = (google.document, google.key) if google else ()
        return tuple(secret.reveal() for secret in (*held, *account) if secret)

    def warnings(self, *, serves: bool = True) -> tuple[str, ...]:
        """What is odd but no error, one line each; `serves` adds what matters when updates are answered."""
        if serves and self.allowed_users is None:
            return (*self.unknown, "FIRSTLIGHT_ALLOWED_USERS is not set: every Telegram user is answered")
        return self.unknown


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment (this process's, if none is given); raises SettingsError.

    A variable set to nothing counts as not set, except FIRSTLIGHT_ALLOWED_USERS, which then allows nobody.
    """
    environ = os.environ if environ is None else environ
    given: dict[str, Any] = {
        variable.field: _parse(name, variable, environ[name].strip())
        for name, variable in VARIABLES.items()
        if environ.get(name, "").strip() or (variable.may_be_empty and name in environ)
    }
    if environ.get("MODAL_IS_REMOTE") == "1":
        given = {"store": None, "inside_modal": True} | given
    if "firestore_emulator" in given and "google_credentials" in given:
        raise SettingsError(
            "FIRESTORE_EMULATOR_HOST", "is set beside FIRSTLIGHT_GOOGLE_CREDENTIALS", "unset one of the two"
        )
    return Settings(
        **given,
        scaling=_all_scaling(environ),
        modal_account=_has_modal_account(environ),
        modal_server=environ.get("MODAL_SERVER_URL", ""),  # Modal's client goes there; we only name it
        unknown=_unknown(environ),
    )


def ours(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that are settings of Firstlight, secrets among them."""
    environ = os.environ if environ is None else environ
    return {name: environ[name] for name in (*VARIABLES, *_scaling_names()) if name in environ}


def carried(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that go from the machine that deploys into the containers; none of them is a secret."""
    environ = os.environ if environ is None else environ
    return {name: environ[name] for name in (*_CARRIED, *_scaling_names()) if name in environ}


# ---------------------------------------------------------------- the table


class Variable(NamedTuple):
    """Where a variable's value goes, how it is read, and what to set it to."""

    field: str
    parse: Callable[[str], object]
    remedy: str
    may_be_empty: bool = False


_port = values.number(0, 65535)  # 0: any free port
_token = values.secret(r"[1-9][0-9]{0,17}:[A-Za-z0-9_-]{1,256}", "digits, a colon and the key")
_webhook_secret = values.secret(r"[A-Za-z0-9_-]{1,256}", "1 to 256 characters of A-Z a-z 0-9 _ -")
_visible = values.secret(r"[!-~]{1,4096}", "visible ASCII characters")

VARIABLES: Final[Mapping[str, Variable]] = {
    "FIRSTLIGHT_STORE": Variable(
        "store",
        values.store,
        "set sqlite:///relative.db, sqlite:////absolute.db or firestore://PROJECT[/DATABASE]",
    ),
    "FIRSTLIGHT_SKILLS_DIR": Variable("skills_dir", Path, "set the folder of the skill files"),
    "FIRSTLIGHT_MODEL": Variable("model", values.model, "set offline or anthropic:MODEL"),
    "FIRSTLIGHT_SHARDS": Variable(
        "shards", values.number(1, values.MAX_SHARDS), f"set a number from 1 to {values.MAX_SHARDS}"
    ),
    "FIRSTLIGHT_ADMIN_TOKEN": Variable("admin_token", _visible, "set a long random text"),
    "FIRSTLIGHT_ALLOWED_USERS": Variable(
        "allowed_users",
        values.user_ids,
        "list numeric user ids, with commas between",
        may_be_empty=True,
    ),
    "FIRSTLIGHT_HOST": Variable("host", values.host, "set the address to listen on, such as 0.0.0.0"),
    "FIRSTLIGHT_PORT": Variable("port", _port, "set a port from 0 to 65535"),
    "FIRSTLIGHT_LOG_LEVEL": Variable("log_level", values.log_level, f"set {', '.join(values.LOG_LEVELS)}"),
    "FIRSTLIGHT_APP_NAME": Variable("app_name", values.app_name, "use letters, digits and . _ -"),
    "FIRSTLIGHT_GOOGLE_CREDENTIALS": Variable(
        "google_credentials", values.service_account, "set the JSON of a service account's key, not its path"
    ),
    "FIRESTORE_EMULATOR_HOST": Variable("firestore_emulator", values.host_and_port, "set HOST:PORT"),
    "TELEGRAM_BOT_TOKEN": Variable("telegram_token", _token, "set the token that @BotFather gave"),
    "TELEGRAM_WEBHOOK_SECRET": Variable(
        "webhook_secret",
        _webhook_secret,
        "set 1 to 256 characters of A-Z a-z 0-9 _ -",
    ),
    "TELEGRAM_API_URL": Variable(
        "telegram_api_url", values.http_url, "set one like https://api.telegram.org"
    ),
    "ANTHROPIC_API_KEY": Variable("anthropic_key", _visible, "set the key of the model's provider"),
    "ANTHROPIC_BASE_URL": Variable(
        "anthropic_url", values.http_url, "set one like https://api.anthropic.com"
    ),
}

_CARRIED: Final = (  # store, model and credentials are named where they are kept: in Modal's secrets
    "FIRSTLIGHT_APP_NAME",
    "FIRSTLIGHT_SHARDS",
    "FIRSTLIGHT_ALLOWED_USERS",
    "FIRSTLIGHT_LOG_LEVEL",
    "TELEGRAM_API_URL",
    "ANTHROPIC_BASE_URL",
)

_SCALING_VARIABLES: Final[Mapping[str, Callable[[str], int]]] = {
    name.upper(): values.number(*bounds) for name, bounds in values.SCALING_BOUNDS.items()
}


# ---------------------------------------------------------------- helpers


def _parse(name: str, variable: Variable, text: str) -> object:
    try:
        return variable.parse(text)
    except ValueError as wrong:
        raise SettingsError(name, str(wrong), variable.remedy) from None  # its cause may hold a secret


def _missing(name: str) -> Any:
    raise SettingsError(name, "is not set", VARIABLES[name].remedy)


def _all_scaling(environ: Mapping[str, str]) -> ScalingOfActors:
    return ScalingOfActors(**{actor: _scaling(environ, actor) for actor in ACTORS})


def _scaling(environ: Mapping[str, str], actor: str) -> Scaling:
    prefix = f"FIRSTLIGHT_{actor.upper()}_"
    given = {
        ending.lower(): _parse(prefix + ending, Variable("", parse, _within(ending)), text)
        for ending, parse in _SCALING_VARIABLES.items()
        if (text := environ.get(prefix + ending, "").strip())
    }
    scaling: Scaling = msgspec.structs.replace(getattr(ScalingOfActors(), actor), **given)
    if wrong := scaling.contradiction():
        raise SettingsError(prefix + wrong[0], wrong[1], "change one of the two")
    return scaling


def _within(ending: str) -> str:
    low, high = values.SCALING_BOUNDS[ending.lower()]
    return f"set a number from {low} to {high}"


def _scaling_names() -> tuple[str, ...]:
    return tuple(f"FIRSTLIGHT_{actor.upper()}_{end}" for actor in ACTORS for end in _SCALING_VARIABLES)


def _has_modal_account(environ: Mapping[str, str]) -> bool:
    """Whether Modal's client would find a token: in the environment, or in its own file (its `config.py`)."""
    if environ.get("MODAL_TOKEN_ID"):
        return True
    home = environ.get("HOME", "")
    file = environ.get("MODAL_CONFIG_PATH") or (f"{home}/.modal.toml" if home else "")
    return bool(file) and Path(file).is_file()


def _unknown(environ: Mapping[str, str]) -> tuple[str, ...]:
    known = [*VARIABLES, *_scaling_names()]
    strange = sorted(name for name in environ if name.startswith("FIRSTLIGHT_") and name not in known)
    return tuple(_hint(name, _nearest(name, known)) for name in strange)


def _nearest(name: str, known: list[str]) -> list[str]:
    matches: list[str] = lazily.load("difflib:get_close_matches")(name, known, n=1)
    return matches


def _hint(name: str, nearest: list[str]) -> str:
    meant = f", did you mean {nearest[0]}?" if nearest else ""
    return f"{name[:80]} is no setting of Firstlight{meant}"
