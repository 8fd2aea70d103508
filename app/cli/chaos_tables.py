"""The tables in which `chaos` tells people what was counted, of a simulation and of a siege alike."""

from collections.abc import Callable, Mapping

from rich.table import Table


def counted(title: str, rows: Mapping[str, object]) -> Table:
    """What was counted, a row each."""
    table = Table(title=title)
    table.add_column("what")
    table.add_column("count", justify="right")
    for what, count in rows.items():
        table.add_row(what, str(count))
    return table


def injected(faults: Mapping[str, int], meaning: Callable[[str], str]) -> Table:
    """How often each kind of fault struck, and what it is."""
    table = Table(title=f"{sum(faults.values())} faults injected")
    table.add_column("kind")
    table.add_column("count", justify="right")
    table.add_column("meaning")
    for kind, count in faults.items():
        table.add_row(kind, str(count), meaning(kind))
    return table
