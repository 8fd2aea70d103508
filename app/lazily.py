"""Loads what only some containers need, so that the others do not import it on their way to ready."""

import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def load(dotted: str) -> Any:
    """Give the attribute named by `package.module:attribute`."""
    name, _, attribute = dotted.partition(":")
    return getattr(sys.modules.get(name) or _imported(name), attribute)


def _imported(name: str) -> ModuleType:
    """Import it without the collector, and take what it made for permanent.

    To look through modules that are there to stay takes 4 % of the time of their import, and if it is only put
    off, the loop stands still for 0.1 s a moment later.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        if collects:
            gc.enable()
