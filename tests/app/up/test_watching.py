"""What makes `firstlight up --watch` deploy again."""

import asyncio
from pathlib import Path

import pytest

from app.up.watching import watch

SEEN_S = 10.0  # the watcher itself rests 0.3 s


@pytest.mark.parametrize("name", ["app/new.py", "contracts/skill.md", "modal_app.py", "scaling.toml"])
async def test_a_source_that_changes_is_told(tmp_path: Path, name: str) -> None:
    """New, written over or replaced by an editor; what is no source is passed over."""
    for folder in ("app", "contracts"):
        (tmp_path / folder).mkdir()
    stopped, told = asyncio.Event(), asyncio.Queue[tuple[str, ...]]()
    watching = asyncio.create_task(watch(tmp_path, stopped, told.put))
    try:
        async with asyncio.timeout(SEEN_S):
            while told.empty():  # the watcher needs a moment until it looks
                (tmp_path / "notes.txt").write_text("not deployed")
                (tmp_path / "app" / "cache.pyc").write_bytes(b"not a source")
                fresh = tmp_path / f"{name}.swp"
                fresh.write_text("changed")
                fresh.replace(tmp_path / name)
                await asyncio.sleep(0.05)
        assert (name,) == told.get_nowait()
    finally:
        stopped.set()
        await watching
