"""Reads the file of desired settings, one table for each actor, and refuses what Modal would not take."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from app.setting_values import SCALING_BOUNDS, Scaling
from app.settings import ACTORS

FILE: Final = Path("scaling.toml")
KEYS: Final = ("min_containers", "max_containers", "buffer_containers", "scaledown_window")
"""What can change while an app runs, named as the endings of the FIRSTLIGHT_ variables; the rest is deployed."""

Wanted = Mapping[str, int]
"""Values by key; a key that is not there is left as it is."""
Desired = Mapping[str, Wanted]
"""By actor: `session_cache`, ..."""


class BadFile(Exception):
    """The file can't be used: one line that names it, the key and what is wrong."""


def read_desired(path: Path) -> Desired:
    """What the file asks for; raises BadFile."""
    return {actor: _wanted(f"{path}: [{actor}]", table) for actor, table in _tables(path).items()}


# ---------------------------------------------------------------- helpers


def _tables(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadFile(f"there is no {path}: write one, or name another by --file") from None
    except OSError as error:
        raise BadFile(f"{path} can't be read: {error.strerror or error}") from None
    except (UnicodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadFile(f"{path} can't be read: {error}") from None
    for actor, table in document.items():
        if actor not in ACTORS:
            raise BadFile(f"{path}: {actor[:60]!r} is no table of an actor{_meant(actor, ACTORS)}")
        if not isinstance(table, dict):
            raise BadFile(
                f"{path}: {actor!r} is no table of an actor: write [{actor}], and its settings below it"
            )
    return document


def _wanted(place: str, table: Mapping[str, Any]) -> Wanted:
    for key, value in table.items():
        _check(place, key, value)
    scaling: Scaling = msgspec.structs.replace(Scaling(min_containers=0), **table)
    if wrong := scaling.contradiction():
        raise BadFile(f"{place} {wrong[0].lower()} {wrong[1].lower()}")
    return {key: table[key] for key in KEYS if key in table}


def _check(place: str, key: str, value: object) -> None:
    if key in SCALING_BOUNDS and key not in KEYS:
        raise BadFile(f"{place} {key} only changes by a deploy: set it in the environment and deploy")
    if key not in KEYS:
        raise BadFile(f"{place} {key[:60]!r} is no setting{_meant(key, KEYS)}")
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadFile(
            f"{place} {key} = {str(value)[:60]!r} is no whole number: write it in digits, without quotes"
        )
    low, high = SCALING_BOUNDS[key]
    if not low <= value <= high:
        raise BadFile(f"{place} {key} = {value} is not between {low} and {high}")


def _meant(name: str, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {nearest[0]}?" if nearest else f"; there are {', '.join(known)}"
