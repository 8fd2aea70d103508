"""Has structlog imported without rich: ours are lines of JSON, and every container starts so much sooner."""

import sys
from importlib import import_module


def import_plainly() -> None:
    """Import structlog, to be done before anybody else does; later imports of rich find it as ever.

    Where rich is installed (Modal's client depends on it) structlog imports it to draw tracebacks for people, which
    took a tenth of a gateway's start. None in `sys.modules` is Python's own way to say that a module is not to be
    found (The Python Language Reference, 5.3.1 "The module cache").
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # as the Reference has it
    try:
        import_module("structlog")
    finally:
        del sys.modules["rich"]
