"""How speed grows with threads, batches and pictures, beside what the machine allows; as tables and as a plot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from itl_infer.ranking import rank
from tests.benchmarks.ground import (
    CORES,
    Ground,
    bytes_per_second,
    open_graph,
    products_per_second,
)
from tests.benchmarks.index import write_index
from tests.benchmarks.ranking import DIM, unit_rows
from tests.benchmarks.report import Table, middle, spread
from tests.benchmarks.timing import runs, samples

SIDE = 256
BATCHES = (1, 2, 4, 8, 16, 32)
ROWS = (1_000, 10_000, 100_000, 1_000_000)
_ROUNDS = 5


def tables(ground: Ground) -> Iterator[Table]:
    graphs = ground.graphs(SIDE)
    paths = {"float32": graphs.float32, "int8": graphs.int8}
    bounds = {"float32": products_per_second("float32"), "int8": products_per_second("int8")}
    for title, settings in (
        ("threads", [(threads, 16) for threads in range(1, CORES + 1)]),
        ("batch", [(CORES, batch) for batch in BATCHES]),
    ):
        table = Table(
            f"Image graph at {SIDE} px by {title}, images/s",
            (title, "float32", "possible, float32", "int8", "possible, int8"),
        )
        for threads, batch in settings:
            sessions = {name: open_graph(path, threads) for name, path in paths.items()}
            x = graphs.pixels[:batch]
            times = samples(
                *(lambda s=session, x=x: s.run(None, {"pixel_values": x}) for session in sessions.values()),
                rounds=_ROUNDS,
            )
            rates = dict(zip(sessions, 1000 * batch / times, strict=True))
            possible = {name: bound / graphs.products * threads / CORES for name, bound in bounds.items()}
            table.add(
                str(threads if title == "threads" else batch),
                *(cell for name in paths for cell in (spread(rates[name], 1), possible[name])),
            )
        yield table

    table = Table(
        "A query by pictures, ms (possible: the rows, read from memory once)",
        ("pictures", "ranking, k 10", "possible", "`itl-infer query`, whole process"),
    )
    query = unit_rows(1, seed=1)
    for rows in ROWS:
        embeddings = unit_rows(rows, seed=0)
        [ranking] = samples(lambda x=embeddings: rank(query, x, 10))
        index = str(write_index(ground.folder / f"rows-{rows}", ground.starter, rows))
        [found] = runs(["-m", "itl_infer", "query", "surfer in a wave", "-d", index], rounds=_ROUNDS)
        limit = 1000 * rows * DIM * 4 / bytes_per_second()
        table.add(f"{rows:,}", spread(ranking, 3), limit, spread([1000 * run.seconds for run in found], 0))
    yield table
    table = Table("What the machine does at best, all cores", ("what", "rate"))
    table.add("float32 products, 10^9/s", bounds["float32"] / 1e9)
    table.add("int8 products, 10^9/s", bounds["int8"] / 1e9)
    table.add(f"products of the graph at {SIDE} px, 10^9", graphs.products / 1e9)
    table.add("read from memory, GB/s", bytes_per_second() / 1e9)
    yield table


def plot(drawn: list[Table], path: Path) -> None:
    """The first three tables of `tables`, with the limits as broken lines."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "itl-infer"  # the same file from the same figures
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    for table, axis in zip(drawn[:2], axes[:2], strict=True):
        x = [int(str(row[0])) for row in table.rows]
        for column, colour in ((1, "tab:orange"), (3, "tab:blue")):
            axis.plot(
                x, [middle(row[column]) for row in table.rows], "o-", c=colour, label=table.columns[column]
            )
            possible = [middle(row[column + 1]) for row in table.rows]
            axis.plot(x, possible, "--", c=colour, lw=1, label=table.columns[column + 1])
        axis.set(
            xlabel=table.columns[0],
            ylabel="images/s",
            ylim=(0, None),
            xticks=x,
            title=f"image graph, {SIDE} px",
        )
    axes[0].legend(frameon=False, fontsize=8)
    [*_, table] = drawn[:3]
    x = [int(str(row[0]).replace(",", "")) for row in table.rows]
    for column, style in ((1, "o-"), (2, "--"), (3, "s-")):
        axes[2].plot(x, [middle(row[column]) for row in table.rows], style, label=table.columns[column])
    axes[2].set(xscale="log", yscale="log", xlabel="pictures", ylabel="ms", title="a query")
    axes[2].legend(frameon=False, fontsize=8, loc="center left")
    figure.savefig(path, metadata={"Date": None})
