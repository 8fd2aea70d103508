"""Reads out of what Modal's client prints why a deploy failed: the place and the error, in one line where it can."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SHOWN: Final = 20  # lines, the last ones, of an output that has none of the forms known here
WIDE: Final = "1000"  # columns: in a narrower box the client cuts paths
TOP, BOTTOM, SIDE = "╭", "╰", "│"
PLACE: Final = re.compile(r"^│\s+(?P<path>/.+?\.pyi?):(?P<line>\d+)(?: in |\s|$)")
ERROR: Final = "Error: "


def reason(output: str, folder: Path) -> str:
    """`FILE:LINE: ERROR` of a traceback, the file relative to `folder` if it lies there; else what the client says.

    A traceback is a box, or several, with the error below the last one. Of its places the last one below
    the folder counts, since that is where something can be mended.
    """
    lines = [line.rstrip() for line in output.strip().splitlines() if line.strip()]
    end = max((at for at, line in enumerate(lines) if line.startswith(BOTTOM)), default=-1)
    below = " ".join(line.strip() for line in lines[end + 1 :])
    if end >= 0 and below:
        return f"{_place(lines[:end], folder)}{below}"
    if end >= 0:
        return _content(lines[:end])
    said = [line for line in lines if line.startswith(ERROR)]
    return said[-1].removeprefix(ERROR) if said else "\n".join(lines[-SHOWN:])


# ---------------------------------------------------------------- helpers


def _place(lines: Sequence[str], folder: Path) -> str:
    found = [(Path(match["path"]), match["line"]) for match in map(PLACE.match, lines) if match]
    own = [(path.relative_to(folder), line) for path, line in found if path.is_relative_to(folder)]
    if not found:
        return ""
    path, line = (own or found)[-1]
    return f"{path}:{line}: "


def _content(lines: Sequence[str]) -> str:
    """What stands in the last box."""
    top = max((at for at, line in enumerate(lines) if line.startswith(TOP)), default=-1)
    return " ".join(line.strip(f"{SIDE} ") for line in lines[top + 1 :])
