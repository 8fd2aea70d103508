"""Searches what a siege has logged and stored for its secrets, and the logs for what people wrote."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from app.chaos.siege.crowd import ASK
from tests.e2e.conftest import Environ
from tests.e2e.kill_place import Place
from tests.e2e.kit import ADMIN, SECRET


def leaks(token: str, places: Sequence[Place], store: Environ) -> Iterable[str]:
    """Say where a secret stands, whatever had failed, or a word of a message."""
    key = token.partition(":")[2]
    canaries = {"the token": token, "its key": key, "the secret": SECRET, "the admin token": ADMIN}
    said = {"a message": ASK.partition(": ")[2]}
    for place in places:
        printed = place.printed()
        assert "cache_warming_done" in printed, "nothing was logged: the search would find nothing"
        yield from (f"{what} is in the log" for what, text in (canaries | said).items() if text in printed)
    for file in _files(store):
        content = file.read_bytes()
        found = (what for what, text in canaries.items() if text.encode() in content)
        yield from (f"{what} is in {file.name}" for what in found)


def _files(store: Environ) -> Iterable[Path]:
    """Of a SQLite store, its warm images included; what another one holds is read by its own means only."""
    scheme, _, path = store["FIRSTLIGHT_STORE"].partition(":///")
    return Path(path).parent.glob(f"{Path(path).name}*") if scheme == "sqlite" else ()
