"""Waits for changes of what a deploy reads."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from watchfiles import Change, PythonFilter, awatch

PACKAGES: Final = ("app", "actors", "contracts")
FILES: Final = ("modal_app.py", "requirements.lock", "scaling.toml")
SETTLE_MS: Final = 300  # an editor writes several files at once, and a checkout hundreds

Changed = Callable[[tuple[str, ...]], Awaitable[None]]
Changes = AsyncIterator[set[tuple[Change, str]]]


async def watch(root: Path, stopped: asyncio.Event, changed: Changed) -> None:
    """Call with the paths that changed, relative to the absolute root, once they rest; ends when stopped.

    The packages are watched with all below them, of the root its files only: it may hold an environment.
    """
    sources = PythonFilter(extra_extensions=(".md",))
    below = awatch(*_folders(root), watch_filter=sources, debounce=SETTLE_MS, stop_event=stopped)
    beside = awatch(root, watch_filter=_of_deploy, debounce=SETTLE_MS, stop_event=stopped, recursive=False)
    await asyncio.gather(_follow(below, root, changed), _follow(beside, root, changed))


# ---------------------------------------------------------------- helpers


def _folders(root: Path) -> list[Path]:
    return [root / name for name in PACKAGES if (root / name).is_dir()]


async def _follow(batches: Changes, root: Path, changed: Changed) -> None:
    async for batch in batches:
        await changed(tuple(sorted({str(Path(path).relative_to(root)) for _, path in batch})))


def _of_deploy(_: Change, path: str) -> bool:
    return Path(path).name in FILES
