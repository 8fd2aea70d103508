"""The benchmarks' own arithmetic, their page, and the command."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import bench_accept, bench_frameworks, report
from tests.bench.kit import (
    Effort,
    Row,
    Table,
    Values,
    one_after_another,
    ratio_between,
    ratios,
    rounds,
    rows,
)
from tests.bench.processes import ROOT

EFFORT = Effort(quick=True)


def table(*found: Row) -> Table:
    """A table of these rows."""
    return Table(name="sample", title="A sample", ratio_of="ms", rows=found, reading="As expected.")


def test_contenders_take_turns() -> None:
    """Every round measures each contender once, so that a busy minute slows all of them."""
    ran: list[str] = []

    def contender(name: str) -> Values:
        ran.append(name)
        return {"ms": 1.0}

    rounds({name: lambda name=name: contender(name) for name in "ab"}, 3, EFFORT)  # type: ignore[misc]
    assert ["a", "b", "a", "b", "a", "b"] == ran


def test_a_row_is_a_median_and_its_ratio_comes_from_each_round() -> None:
    """A round in which all was slow changes the values, and leaves the ratio as it is."""
    samples = {
        "plain": [{"ms": 1.0}, {"ms": 1.0}, {"ms": 100.0}],
        "ours": [{"ms": 2.0}, {"ms": 4.0}, {"ms": 200.0}],
    }
    plain, ours = rows(samples, "ms", "plain")
    assert Row("plain", {"ms": 1.0}) == plain
    assert Row("ours", {"ms": 4.0}, "plain", 2.0) == ours
    assert 2.0 == ratio_between(samples, "ours", "plain", "ms")


def test_each_row_may_have_a_baseline_of_its_own() -> None:
    """A mapping names them; a row that it leaves out is a baseline."""
    samples = {"a": [{"ms": 1.0}], "b": [{"ms": 3.0}], "c": [{"ms": 6.0}]}
    assert [None, None, 2.0] == [row.ratio for row in rows(samples, "ms", {"c": "b"})]


def test_columns_stand_in_the_order_of_the_rows() -> None:
    """A measure that only some rows have gets a column, empty in the others."""
    wide = table(Row("a", {"ms": 1.0}), Row("b", {"ms": 2.0, "bytes": 3.0}, "a", 2.0))
    assert ("ms", "bytes") == wide.measures
    assert "| a | 1.00 |  |  |" in report.section(wide)
    assert "| b | 2.00 | 3.00 | 2.00 |" in report.section(wide)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (1.0, "1.00"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")],
)
def test_numbers_are_as_exact_as_they_are(value: float, text: str) -> None:
    """Three digits that matter."""
    assert text == report.number(value)


def test_the_page_has_every_table_and_its_plot(tmp_path: Path) -> None:
    """What is written names the machine's kind and no folder of it, and each picture that it shows is there."""
    page = tmp_path / "docs" / "benchmarks.md"
    page.parent.mkdir()
    written = report.write([table(Row("a", {"ms": 1.0}), Row("b", {"ms": 2.0}, "a", 2.0))], page)
    text = page.read_text()
    assert "docs/benchmarks.md" == written
    assert "![A sample](benchmarks/sample.png)" in text
    assert (tmp_path / "docs" / "benchmarks" / "sample.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in text
    assert str(Path.cwd()) not in text


def test_a_table_is_written_anew_among_the_others(tmp_path: Path) -> None:
    """The others stay as they are and where they are; one from another machine says where it was measured."""
    page = tmp_path / "benchmarks.md"
    old, new = table(Row("a", {"ms": 1.0})), table(Row("a", {"ms": 5.0}))
    other = replace(old, name="other", title="Another")
    report.write([other, old], page)
    before = page.read_text()
    assert "benchmarks.md" == report.rewrite([new], ["other", "sample"], page).rpartition("/")[2]
    assert before.replace(report.section(old), report.section(new)) == page.read_text()
    page.write_text(before.replace("Machine: ", "Machine: 96 cores, or "))
    report.rewrite([new], ["other", "sample"], page)
    assert page.read_text().index("96 cores") < page.read_text().index("## Another")
    assert page.read_text().index("## A sample") < page.read_text().index("Measured apart. Machine: ")


@pytest.mark.parametrize(
    ("words", "code", "said"), [("codec --quick", 0, "msgspec"), ("unheard-of", 2, "accept")]
)
def test_the_command_runs_what_it_is_told(words: str, code: int, said: str) -> None:
    """One name, one table; a name that nobody has is wrong usage, and the names are told."""
    command = [sys.executable, "-m", "tests.bench", *words.split()]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert code == told.returncode, told.stderr
    assert said in told.stdout + told.stderr


def test_the_readings_of_accepting_say_what_their_tables_say() -> None:
    """A sentence that pairs the rounds in a way of its own contradicts the table below it."""
    found = [
        Row(bench_frameworks.BARE, {}),
        Row(bench_frameworks.OURS, {}, bench_frameworks.BARE, 1.4),
        Row("aiogram, nothing durable", {}, bench_frameworks.BARE, 5.71),
    ]
    said = "takes 1.4 times the CPU of an empty answer; writing nothing down, aiogram 5.7 times."
    assert bench_frameworks.reading(found).endswith(said)
    runs = {bench_accept.BARE: (1000.0, 40.0), bench_accept.PARKED: (620.0, 68.0)}
    accepted = {
        name: [{bench_accept.RATE: rate, bench_accept.CPU: cpu}] * 3 for name, (rate, cpu) in runs.items()
    }
    assert "costs 1.70 times" in bench_accept.reading(accepted)
    assert "accepts 0.62 of" in bench_accept.reading(accepted)


def test_the_rounds_of_several_sets_are_one_series() -> None:
    """A second set of servers adds its rounds to those of the first, each beside its own baseline."""
    first = {"plain": [{"ms": 1.0}], "ours": [{"ms": 2.0}]}
    second = {"plain": [{"ms": 10.0}], "ours": [{"ms": 30.0}]}
    assert [2.0, 3.0] == ratios(one_after_another((first, second)), "ours", "plain", "ms")
