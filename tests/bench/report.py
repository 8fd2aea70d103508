"""How tables are shown: in the terminal, and as docs/benchmarks.md with a plot each."""

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import rich.table
from rich.console import Console

from tests.bench.kit import Row, Table
from tests.bench.plots import plot

PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PACKAGES: Final = ("aiohttp", "uvloop", "msgspec", "structlog", "grpcio")

MACHINE: Final = "Machine: "
_PLOT: Final = re.compile(r"\(benchmarks/(\w+)\.png\)")

OPENING: Final = """# Benchmarks

Made by `make bench`; do not edit. Each table comes from one run, its rows measured in turns. A value is the median
of the rounds. A ratio compares a row with its baseline in the same round, and is the median of that; baselines have
none. Ratios travel between machines, the values do not.
"""


def show(table: Table, console: Console) -> None:
    """Print the table and its reading."""
    shown = rich.table.Table(
        title=table.title, title_justify="left", caption=table.reading, caption_justify="left"
    )
    shown.add_column("")
    for measure in (*table.measures, f"ratio of {table.ratio_of}"):
        shown.add_column(measure, justify="right")
    for row in table.rows:
        shown.add_row(row.name, *_cells(row, table))
    console.print(shown)
    console.print()


def write(tables: Sequence[Table], page: Path = PAGE) -> str:
    """Write the page and its plots in a folder beside it; gives the page's name below the project."""
    _draw(tables, page)
    page.write_text("\n".join((OPENING, _machine(), *map(section, tables))))
    return "/".join(page.parts[-2:])


def rewrite(tables: Sequence[Table], order: Sequence[str], page: Path = PAGE) -> str:
    """Write these tables anew and keep the page's others; what was measured on another machine says so."""
    kept = page.read_text() if page.exists() else ""
    machine = next((line + "\n" for line in kept.splitlines() if line.startswith(MACHINE)), _machine())
    note = "" if machine == _machine() else f"Measured apart. {_machine()}"
    sections = {_name(text): text for text in re.split(r"(?m)^(?=## )", kept)[1:]}
    sections |= {table.name: section(table, note) for table in tables}
    _draw(tables, page)
    shown = [sections[name].rstrip("\n") + "\n" for name in order if name in sections]
    page.write_text("\n".join((OPENING, machine, *shown)))
    return "/".join(page.parts[-2:])


def section(table: Table, note: str = "") -> str:
    """The table as Markdown, with its reading and its plot; a note of where it was measured comes before."""
    measures = (*table.measures, f"ratio of {table.ratio_of}")
    lines = [
        f"## {table.title}",
        "",
        *([note] if note else []),
        table.reading,
        "",
        f"| | {' | '.join(measures)} |",
        f"|---|{'---:|' * len(measures)}",
        *(f"| {row.name} | {' | '.join(_cells(row, table))} |" for row in table.rows),
        "",
        f"![{table.title}](benchmarks/{table.name}.png)",
        "",
    ]
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that matter, and no more; zero is exact."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


# ---------------------------------------------------------------- helpers


def _draw(tables: Sequence[Table], page: Path) -> None:
    pictures = page.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    for table in tables:
        plot(table, pictures / f"{table.name}.png")


def _name(text: str) -> str:
    """A section's, from its plot."""
    found = _PLOT.search(text)
    return found[1] if found else ""


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    kind = f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}"
    return f"{MACHINE}{kind}, {platform.python_implementation()} {platform.python_version()}, {packages}.\n"


def _cells(row: Row, table: Table) -> list[str]:
    values = [number(row.values[measure]) if measure in row.values else "" for measure in table.measures]
    return [*values, number(row.ratio) if row.ratio is not None else ""]
