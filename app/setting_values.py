"""The values that settings are made of, and how each is read from text; they raise ValueError, one line."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
MAX_SHARDS: Final = 1024  # each is a Modal pool of its own; more is a mistake

SCALING_BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "min_containers": (0, 1000),
    "max_containers": (1, 1000),
    "buffer_containers": (0, 1000),
    "scaledown_window": (2, 3600),  # seconds; Modal refuses other values
    "max_inputs": (1, 1000),
    "target_inputs": (1, 1000),
}


class Secret:
    """A text that shows itself to nobody who does not ask for it by `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class SqliteAddress(msgspec.Struct, frozen=True):
    """`sqlite:///PATH`; a relative path is below the current folder."""

    path: Path


class FirestoreAddress(msgspec.Struct, frozen=True):
    """`firestore://PROJECT[/DATABASE]`."""

    project: str
    database: str = "(default)"


StoreAddress = SqliteAddress | FirestoreAddress


class ModelName(msgspec.Struct, frozen=True):
    """`offline`, or `anthropic:MODEL`."""

    provider: Literal["offline", "anthropic"] = "offline"
    model: str = ""


class ServiceAccount(msgspec.Struct, frozen=True):
    """A Google service account; `document` is its whole JSON, `key` the private key in it (PEM)."""

    project: str
    email: str
    document: Secret
    key: Secret


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """Containers of one actor, and inputs of one container; None leaves it to Modal. Times in seconds."""

    min_containers: int = 1
    max_containers: int | None = None
    buffer_containers: int | None = None
    scaledown_window: int | None = None
    max_inputs: int = 100
    target_inputs: int | None = None
    timeout: int = 60

    def contradiction(self) -> tuple[str, str] | None:
        """The variable's ending and the reason, if two of the values exclude each other."""
        if self.max_containers is not None and self.max_containers < max(1, self.min_containers):
            return "MAX_CONTAINERS", f"{self.max_containers} is below MIN_CONTAINERS {self.min_containers}"
        if self.target_inputs is not None and self.target_inputs > self.max_inputs:
            return "TARGET_INPUTS", f"{self.target_inputs} is above MAX_INPUTS {self.max_inputs}"
        return None


# ---------------------------------------------------------------- parsers


def store(text: str) -> StoreAddress:
    scheme, separator, rest = text.partition("://")
    match scheme if separator else "":
        case "sqlite":
            return _sqlite(rest)
        case "firestore":
            return _firestore(rest)
        case _:
            raise ValueError("is no store")  # not shown: it may be another database's URL with a password


def number(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers from `low` to `high`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise ValueError("is no whole number")
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"{value} is not between {low} and {high}")
        return value

    return parse


def secret(pattern: str, rule: str) -> Callable[[str], Secret]:
    """A parser of secrets that match `pattern`; `rule` says in words what they consist of."""

    def parse(text: str) -> Secret:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"does not consist of {rule}")
        return Secret(text)

    return parse


def model(text: str) -> ModelName:
    if text == "offline":
        return ModelName()
    provider, _, name = text.partition(":")
    if provider != "anthropic" or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}", name):
        raise ValueError("names no model")
    return ModelName("anthropic", name)


def user_ids(text: str) -> frozenset[int]:
    ids = [part for part in re.split(r"[,\s]+", text) if part]
    wrong = next((part for part in ids if not re.fullmatch(r"[0-9]{1,18}", part)), None)
    if wrong is not None:
        raise ValueError(f"{wrong[:40]!r} is no numeric user id")
    return frozenset(map(int, ids))


def log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"{text[:40]!r} is no log level")
    return text.lower()


def http_url(text: str) -> str:
    try:
        url = urlsplit(text)
        port_readable = url.port is None or url.port > 0
    except ValueError:
        raise ValueError("is no URL") from None  # urlsplit's own words repeat the value
    if url.scheme not in ("http", "https") or not url.hostname or not port_readable:
        raise ValueError("is no http or https URL")
    if "@" in url.netloc or url.query or url.fragment or re.search(r"\s", text):
        raise ValueError("has credentials, a query, a fragment or a space in it")
    return text.rstrip("/")


def host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:%-]{1,253}", text):
        raise ValueError("is no host name or address")
    return text


def host_and_port(text: str) -> str:
    name, _, port = text.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]", name):
        raise ValueError("is no HOST:PORT")
    number(1, 65535)(port)
    return text


def app_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,63}", text):
        raise ValueError("has characters that a Modal app's name can't have")
    return text


def service_account(text: str) -> ServiceAccount:
    try:
        account = msgspec.json.decode(text, type=_ServiceAccountFile)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise ValueError("is no JSON of a service account") from None  # the cause may quote the key
    if account.type != "service_account":
        raise ValueError("is JSON of something else than a service account")
    return ServiceAccount(account.project_id, account.client_email, Secret(text), Secret(account.private_key))


# ---------------------------------------------------------------- helpers


class _ServiceAccountFile(msgspec.Struct):
    type: str
    project_id: str
    client_email: str
    private_key: str


def _sqlite(rest: str) -> SqliteAddress:
    path = rest.removeprefix("/")
    if path == rest or not path.strip("/") or path.endswith("/"):
        raise ValueError("names no file")
    if path == ":memory:" or re.search(r"[?#\0]", path):
        raise ValueError("is more than a file's path")
    return SqliteAddress(Path(path))


_FIRESTORE = re.compile(
    r"(?P<project>[A-Za-z0-9][A-Za-z0-9.:-]{0,62})"
    r"(?:/(?P<database>\(default\)|[A-Za-z0-9][A-Za-z0-9-]{0,62}))?/?"
)


def _firestore(rest: str) -> FirestoreAddress:
    found = _FIRESTORE.fullmatch(rest)
    if found is None:
        raise ValueError("names no project and database")
    return FirestoreAddress(found["project"], found["database"] or "(default)")
