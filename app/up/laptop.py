"""What a deploy to a laptop's own plane is given: the settings of the environment, and defaults for what is missing."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.settings import Settings, SettingsError, SqliteAddress, carried, load
from contracts.base import Value

SECRETS: Final[Mapping[str, tuple[str, ...]]] = {
    "firstlight-store": ("FIRSTLIGHT_STORE", "FIRSTLIGHT_GOOGLE_CREDENTIALS", "FIRESTORE_EMULATOR_HOST"),
    "firstlight-telegram": (
        "TELEGRAM_BOT_TOKEN",
        "TELEGRAM_WEBHOOK_SECRET",
        "FIRSTLIGHT_ADMIN_TOKEN",
        "TELEGRAM_API_URL",  # with the token: a deploy from another shell must not send it elsewhere
    ),
    "firstlight-model": ("FIRSTLIGHT_MODEL", "ANTHROPIC_API_KEY"),
}
"""The secrets that `modal_app.py` names, and the variables in each."""


class Simulated(Value, frozen=True):
    """The simulated Telegram of this process: its bot's token, and where its Bot API answers."""

    token: str
    api_url: str


class Laptop(Value, frozen=True, kw_only=True):
    """Everything that a deploy needs, every value of it checked."""

    settings: Settings
    variables: Mapping[str, str]

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """Variables by the name of the secret that holds them."""
        return {
            name: {key: self.variables[key] for key in keys if key in self.variables}
            for name, keys in SECRETS.items()
        }

    @property
    def deploying(self) -> dict[str, str]:
        """What the deploying process sees; no secret is among it."""
        return carried(self.variables)


def laptop(given: Mapping[str, str], folder: Path, simulated: Simulated | None) -> Laptop:
    """Fill in what is not given: an SQLite store in the folder, the offline model, secrets of the moment.

    Raises SettingsError, also for a store that others share when Telegram's people are made up, and for a real
    bot without TELEGRAM_WEBHOOK_SECRET, which `firstlight webhook set` has to know as well.
    """
    variables = _defaults(folder) | _set(given)
    if simulated is not None:
        variables = {"TELEGRAM_WEBHOOK_SECRET": secrets.token_urlsafe(24)} | variables | _telegram(simulated)
        variables.pop("FIRSTLIGHT_ALLOWED_USERS", None)  # the people are made up
    settings = load(variables)
    settings.require_webhook_secret()
    if isinstance(settings.store, SqliteAddress):  # containers have working folders of their own
        variables["FIRSTLIGHT_STORE"] = f"sqlite:///{settings.store.path.resolve()}"
    elif simulated is not None and settings.firestore_emulator is None:
        raise SettingsError(
            "FIRSTLIGHT_STORE",
            "is shared with others",
            "set TELEGRAM_BOT_TOKEN, or say --store sqlite:///PATH",
        )
    return Laptop(settings=load(variables), variables=variables)


# ---------------------------------------------------------------- helpers


def _set(given: Mapping[str, str]) -> dict[str, str]:
    """Nothing counts as not given, except for the users: nobody, then."""
    return {
        name: value for name, value in given.items() if value.strip() or name == "FIRSTLIGHT_ALLOWED_USERS"
    }


def _defaults(folder: Path) -> dict[str, str]:
    return {
        "FIRSTLIGHT_STORE": f"sqlite:///{(folder / 'plane.db').resolve()}",
        "FIRSTLIGHT_MODEL": "offline",
        "FIRSTLIGHT_ADMIN_TOKEN": secrets.token_urlsafe(24),
    }


def _telegram(simulated: Simulated) -> dict[str, str]:
    return {"TELEGRAM_BOT_TOKEN": simulated.token, "TELEGRAM_API_URL": simulated.api_url}
