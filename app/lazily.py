"""Loads what only some containers need, so that the others do not import it on their way to ready."""

from importlib import import_module
from typing import Any


def load(dotted: str) -> Any:
    """Give the attribute named by `package.module:attribute`."""
    module, _, attribute = dotted.partition(":")
    return getattr(import_module(module), attribute)
