"""What is loaded late: the attribute that was asked for, and a process that is as before."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from app.lazily import load

ROOT = Path(__file__).parents[2]
FIRST_LOAD = """
import gc, sys
from app.lazily import load
before, collections = gc.get_freeze_count(), gc.get_stats()
load("app.telegram.client:TelegramClient")
assert gc.get_stats() == collections, "collected"
assert gc.get_freeze_count() > before, "not frozen"
assert gc.isenabled()
"""
WITHOUT_RICH = """
import sys
import app, structlog
assert "rich" not in sys.modules
from rich.console import Console
"""


def test_an_attribute_of_a_module_is_given() -> None:
    """Whether the module was there before or not."""
    assert gc.collect is load("gc:collect")


@pytest.mark.parametrize("dotted", ["app.no_such_module:anything", "app.lazily:no_such_name"])
def test_a_wrong_name_leaves_the_collector_at_work(dotted: str) -> None:
    """An import that fails is told as Python tells it, and nothing stays switched off."""
    with pytest.raises((ImportError, AttributeError)):
        load(dotted)
    assert gc.isenabled()


@pytest.mark.parametrize("program", [FIRST_LOAD, WITHOUT_RICH], ids=["uncollected", "without rich"])
def test_a_start_is_not_made_longer(program: str) -> None:
    """A first load is not looked through by the collector; structlog brings no rich along, which others still find."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, cwd=ROOT)
    assert (0, b"") == (done.returncode, done.stderr)
