"""`python -m tests.bench [NAME ...] [--quick]`: the benchmarks one after another, a table each, and the page."""

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.observability import configure_logging
from tests.bench import (
    bench_accept,
    bench_cache,
    bench_caches,
    bench_codec,
    bench_decode,
    bench_evict,
    bench_first,
    bench_frameworks,
    bench_halflife,
    bench_hits,
    bench_imports,
    bench_memory,
    bench_modal,
    bench_plane,
    bench_start,
    bench_store,
    bench_warm,
)
from tests.bench.kit import Bench, Effort, Table
from tests.bench.report import rewrite, show, write

BENCHES: dict[str, Bench] = {
    "accept": bench_accept.run,
    "frameworks": bench_frameworks.run,
    "warm": bench_warm.run,
    "first": bench_first.run,
    "start": bench_start.run,
    "imports": bench_imports.run,
    "memory": bench_memory.run,
    "codec": bench_codec.run,
    "modal": bench_modal.run,
    "decode": bench_decode.run,
    "cache": bench_cache.run,
    "caches": bench_caches.run,
    "store": bench_store.run,
    "halflife": bench_halflife.run,
    "hits": bench_hits.run,
    "evict": bench_evict.run,
    "plane": bench_plane.run,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)), metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Fewer rounds and smaller sizes: within a minute, less exact.")
def main(names: tuple[str, ...], quick: bool) -> None:
    """Run the benchmarks (all, if none is named) and write their tables and plots to docs/benchmarks.md.

    A quick run writes nothing; one of some benchmarks keeps the page's other tables.
    """
    configure_logging("error")  # what services of our own say is not what was asked for
    console = Console()
    tables = [_run(name, quick, console) for name in names or BENCHES]
    if not quick:
        page = rewrite(tables, list(BENCHES)) if names else write(tables)
        console.print(f"written: {page}")


def _run(name: str, quick: bool, console: Console) -> Table:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=None)
        effort = Effort(quick, lambda text: progress.update(task, description=f"{name}: {text}"))
        table = BENCHES[name](effort)
    show(table, console)
    return table


if __name__ == "__main__":
    main()
