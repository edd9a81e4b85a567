"""Whole processes: how soon a command answers, and in how much memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.benchmarks.ground import Ground
from tests.benchmarks.index import write_index
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import runs

ROWS = 10_000


def tables(ground: Ground) -> Iterator[Table]:
    index = str(write_index(ground.folder / "start", ground.starter, ROWS))
    commands = {
        "python -c pass": ["-c", "pass"],
        "import numpy, onnxruntime": ["-c", "import numpy, onnxruntime"],
        "import itl_infer": ["-c", "import itl_infer"],
        "itl-infer --version": ["-m", "itl_infer", "--version"],
        "itl-infer --help": ["-m", "itl_infer", "--help"],
        f"itl-infer query, {ROWS:,} pictures": ["-m", "itl_infer", "query", "surfer in a wave", "-d", index],
    }
    measured = dict(zip(commands, runs(*commands.values(), rounds=15), strict=True))
    seconds = {name: [run.seconds for run in found] for name, found in measured.items()}
    ratios = {
        name: spread(np.array(taken) / seconds["import numpy, onnxruntime"])
        for name, taken in seconds.items()
    }
    table = Table("Whole processes", ("command", "ms", "times the imports", "peak, MB"))
    for name, found in measured.items():
        table.add(
            name,
            spread([1000 * taken for taken in seconds[name]], 0),
            ratios[name],
            float(max(run.peak_mb for run in found)),
        )
    *_, (query, found) = measured.items()
    table.at_most(f"{query} / import numpy, onnxruntime", 1.6, ratios[query])
    table.at_most(f"{query}, peak MB", 150, max(run.peak_mb for run in found))
    for name in ("itl-infer --version", "itl-infer --help"):
        more = 1000 * (np.array(seconds[name]) - seconds["python -c pass"])
        table.at_most(f"{name}, ms more than python -c pass", 120, spread(more))
    yield table
