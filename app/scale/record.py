"""Remembers beside the plane's note what was applied, so that `diff` can say which deploy undid it."""

from pathlib import Path
from typing import Final

import msgspec

from app.scale.pools import Applied
from app.targets.note import FOLDER, private_folder
from app.targets.place import Place

NAME: Final = "scale.json"
KEPT: Final = 100  # places; a folder's own few, and an end to it


def read_applied(place: Place, folder: Path = FOLDER) -> Applied:
    """What was last applied to that place from this folder; nothing, if it is not known."""
    return _read(folder).get(_key(place), Applied())


def write_applied(place: Place, applied: Applied, folder: Path = FOLDER) -> None:
    """Remember it; raises OSError."""
    private_folder(folder)
    others = {key: each for key, each in _read(folder).items() if key != _key(place)}
    kept = dict(list(others.items())[-KEPT + 1 :]) | {_key(place): applied}
    fresh = folder / f"{NAME}.new"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(kept)))
    fresh.replace(folder / NAME)


# ---------------------------------------------------------------- helpers


def _read(folder: Path) -> dict[str, Applied]:
    """It only explains what is seen, so that a note that can't be read is as good as none."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=dict[str, Applied])
    except (OSError, ValueError, RecursionError):
        return {}


def _key(place: Place) -> str:
    at = place.plane.url if place.plane else "modal"
    return f"{at} {place.app_name}"
