"""Reads a file of `NAME=value` lines, as `.env` files have them."""

import re
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 1 << 20  # a service account's key takes 3 kB


class BadEnvFile(Exception):
    """The file can't be used: one line naming it and the place."""


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of the file; comments, `export ` and quotes around a value are allowed. Raises BadEnvFile."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_BYTES)
    except (OSError, UnicodeError) as error:
        raise BadEnvFile(f"{path} can't be read: {error}") from None
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return dict(_variable(f"{path}:{number}", line) for number, line in lines if line and line[0] != "#")


# ---------------------------------------------------------------- helpers


def _variable(place: str, line: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", line)
    if found is None:
        raise BadEnvFile(f"{place}: write NAME=value")  # the line is not shown: it may hold a secret
    name, value = found.groups()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return name, value
