"""One picture a table: bars of the measure that its ratios compare, each with its ratio beside it."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.bench.kit import Row, Table

BASELINE, OURS = "#9aa5b1", "#2f6fde"


def plot(table: Table, path: Path) -> None:
    """Write the picture as PNG, some 15 kB."""
    rows = [row for row in reversed(table.rows) if table.ratio_of in row.values]
    values = [row.values[table.ratio_of] for row in rows]
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7, 0.6 + 0.28 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        colors = [BASELINE if row.ratio is None else OURS for row in rows]
        bars = axes.barh([row.name for row in rows], values, color=colors)
        axes.bar_label(bars, labels=[_label(row) for row in rows], padding=3)
        if values and min(values) > 0 and max(values) > 50 * min(values):
            axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.set_xlabel(table.ratio_of)
        figure.savefig(path, dpi=100)


def _label(row: Row) -> str:
    return "" if row.ratio is None else f"x {row.ratio:.3g}"
