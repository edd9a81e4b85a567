"""What ten million pictures and more take, from what is measured here, and how shards slow the slowest answer.

The tables between are arithmetic. The last is a simulation: every shard is a machine of this kind with its share of the
rows, which answers one query after another; a query waits for the slowest of its shards. Queries come at random
(Poisson); service times are those measured here, scaled to the rows of a shard.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from itl_infer.ranking import rank
from tests.benchmarks.ground import CORES, Ground
from tests.benchmarks.ranking import DIM, unit_rows
from tests.benchmarks.report import Cell, Table, spread
from tests.benchmarks.timing import run

PICTURES = (10**7, 10**8, 10**9)
ROWS = 1_000_000  # of the ranking that is measured
SIDE, PHOTOS = 256, 512
_ROUNDS, _LATENCIES, _BLOCK = 3, 400, 256

# Assumptions, which no measurement here can give.
DOLLARS_PER_CPU_HOUR = 0.04  # of a cloud's machine on demand; a third of that where it may be taken away
DOLLARS_PER_GB_MONTH = 0.023  # of an object store
PATH_BYTES = 100
EMBEDDING_CORES, NETWORK_GBIT = 100, 10
MACHINE_GB = 64  # memory of one machine, of which four fifths hold rows
NETWORK_MS = 0.5  # there and back, within one data centre

SIMULATED = 10**8  # pictures
SHARDS = (4, 8, 16, 32, 64, 128, 256)
QUERIES_PER_SECOND = 3.0
QUERIES = 20_000
MERGE_MS = 1.0  # for what the shards found


def tables(ground: Ground) -> Iterator[Table]:
    cpu_seconds = _embedding_cpu_seconds(ground)
    rows, queries = unit_rows(ROWS, seed=0), unit_rows(_LATENCIES, seed=1)
    service = np.array([_seconds(rows, query[None]) for query in queries])
    block = np.median([_seconds(rows, queries[:_BLOCK]) for _ in range(_ROUNDS)])
    table = Table("Measured here", ("what", "figure"))
    picture_bytes = float(np.mean([path.stat().st_size for path in ground.photos]))
    table.add("a photograph, kB", picture_bytes / 1000)
    table.add(f"CPU time to embed a photograph, {SIDE} px, int8, ms", 1000 * cpu_seconds)
    table.add(f"a query over {ROWS:,} pictures, exact, on {CORES} cores, ms", spread(1000 * service))
    table.add("the same, the slowest of a hundred, ms", float(1000 * np.quantile(service, 0.99)))
    table.add(f"a query of {_BLOCK} at once, ms", float(1000 * block / _BLOCK))
    yield table
    yield from _sizes(picture_bytes, cpu_seconds, float(np.median(service)), float(block) / _BLOCK)
    yield _shards(service)


def _sizes(picture_bytes: float, cpu_seconds: float, alone: float, in_block: float) -> Iterator[Table]:
    """Costs by number of pictures; `alone` and `in_block`: seconds of a query over ROWS rows."""
    embedding = Table(
        "To embed them",
        (
            *("pictures", "CPU-hours", "dollars", f"hours on {EMBEDDING_CORES} cores", "to read, TB"),
            f"hours to read at {NETWORK_GBIT} Gbit/s",
        ),
    )
    storing = Table(
        "To keep them",
        (
            *("pictures", "rows, GB: float32", "half", "int8", "paths, GB", "dollars a month"),
            *(f"machines of {MACHINE_GB} GB: float32", "half", "int8"),
        ),
    )
    searching = Table(
        f"To search them, exactly, {CORES} cores a machine",
        (
            "pictures",
            "one query on one machine, s",
            "machines for 0.1 s",
            f"CPU-seconds a query, {_BLOCK} at once",
        ),
    )
    for pictures in PICTURES:
        name, hours = f"{pictures:,}", pictures * cpu_seconds / 3600
        read = pictures * picture_bytes
        embedding.add(
            *(name, hours, hours * DOLLARS_PER_CPU_HOUR, hours / EMBEDDING_CORES, read / 1e12),
            read * 8 / (NETWORK_GBIT * 1e9) / 3600,
        )
        sizes = [pictures * DIM * width / 1e9 for width in (4, 2, 1)]
        paths = pictures * PATH_BYTES / 1e9
        storing.add(
            *(name, *sizes, paths, (sizes[0] + paths) * DOLLARS_PER_GB_MONTH),
            *(float(np.ceil(size / (0.8 * MACHINE_GB))) for size in sizes),
        )
        seconds = pictures / ROWS * alone
        searching.add(name, seconds, float(np.ceil(seconds / 0.1)), pictures / ROWS * in_block * CORES)
    yield from (embedding, storing, searching)


def _shards(service: npt.NDArray[np.float64]) -> Table:
    columns = (
        "shards",
        "pictures in each",
        "busy",
        "median, ms",
        "99 %, ms",
        "99.9 %, ms",
        "99 % with a copy, ms",
    )
    title = f"Simulated: {SIMULATED:,} pictures, {QUERIES_PER_SECOND:g} queries a second, by shards"
    table = Table(title, columns)
    for shards in SHARDS:
        seconds = service * (SIMULATED / shards / ROWS)
        busy = QUERIES_PER_SECOND * seconds.mean()
        row: list[Cell] = [str(shards), f"{SIMULATED // shards:,}", f"{100 * busy:.0f} %"]
        if busy >= 1:
            table.add(*row, *["never ends"] * 4)
            continue
        once, twice = (1000 * simulate(seconds, shards, copies) for copies in (1, 2))
        levels = np.quantile(once, [0.5, 0.99, 0.999])
        table.add(*row, *(f"{ms:,.0f}" for ms in (*levels, np.quantile(twice, 0.99))))
    return table


def simulate(
    service: npt.NDArray[np.float64], shards: int, copies: int = 1, *, queries: int = QUERIES, seed: int = 0
) -> npt.NDArray[np.float64]:
    """(queries,) seconds until the slowest shard has answered; what one takes is drawn anew from `service` each time.

    With two copies of every shard, each query goes to the one that is free sooner.
    """
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / QUERIES_PER_SECOND, queries))
    latencies = np.zeros(queries)
    for _ in range(shards):
        free = [0.0] * copies  # when each copy has done what it was given, soonest first
        waited = []
        for arrival, taken in zip(arrivals.tolist(), rng.choice(service, queries).tolist(), strict=True):
            done = max(free[0], arrival) + taken
            free[0] = done
            free.sort()
            waited.append(done - arrival)
        latencies = np.maximum(latencies, waited)
    return latencies + (NETWORK_MS + MERGE_MS) / 1000


def _embedding_cpu_seconds(ground: Ground) -> float:
    """Of the whole command, for one picture."""
    photos, bundle = ground.many(PHOTOS, ground.photos, "photos"), ground.bundle(SIDE)
    found = []
    for turn in range(_ROUNDS):
        options = ["-d", str(ground.folder / f"{turn}.itl"), "-m", str(bundle), "--format", "json"]
        done = run("-m", "itl_infer", "embed-images", str(photos), *options)
        found.append(done.cpu_seconds / json.loads(done.output)["embedded"])
    return float(np.median(found))


def _seconds(rows: npt.NDArray[np.float32], queries: npt.NDArray[np.float32]) -> float:
    start = time.perf_counter()
    rank(queries, rows, 10)
    return time.perf_counter() - start
