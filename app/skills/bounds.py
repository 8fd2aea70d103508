"""What a folder of skills may hold: every number that bounds a scan, in one place."""

from typing import Final

from contracts.base import Value

MAX_FILE_BYTES: Final = 1 << 20
"""One skill file or resource. The largest skill seen in the wild has 26 kB."""


class ScanBounds(Value, frozen=True, kw_only=True):
    """Beyond these, files are set aside with the reason; none of them is met by honest skills."""

    skills: int = 10_000
    total_bytes: int = 64 << 20
    depth: int = 16
    entries: int = 200_000
    resources: int = 200
    set_aside: int = 1_000
