"""Beyond one process: the same pictures and queries on two nodes of Ray on this machine, and in Milvus Lite."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from itl_infer import Index
from tests.benchmarks.ground import CORES, Ground
from tests.benchmarks.report import Table
from tests.benchmarks.timing import run

PICTURES, QUERIES = 10_000, 1000
_SIDE = 256  # decoding large ones is not what is measured here


def tables(ground: Ground) -> Iterator[Table]:
    bundle = ground.starter
    folder = _draw_pictures(ground)
    index, shards = ground.folder / "pictures.itl", ground.folder / "shards"
    options = ["-m", str(bundle.path), "--format", "json"]
    queries = _queries(ground)
    asked = ["-m", "itl_infer", "batch", str(queries), "-m", str(bundle.path)]

    embedding = Table(
        f"{PICTURES:,} parts of photographs, {_SIDE} px, {CORES} cores",
        ("where", "images/s", "beside one process", "largest difference", "peak of a process, MB"),
    )
    one = run("-m", "itl_infer", "embed-images", str(folder), "-d", str(index), *options)
    rate = _rate(one.output)
    embedding.add("one process", rate, 1.0, "", one.peak_mb)

    searching = Table(
        f"{QUERIES:,} queries over these, as `batch` answers them",
        ("where", "seconds", "queries/s", "answers as of one process"),
    )
    alone = run(*asked, "-d", str(index))
    searching.add("index of one process", alone.seconds, QUERIES / alone.seconds, "")

    with two_nodes(max(1, CORES // 2)) as address:
        cluster = ["--ray", address]
        with _peak_of_workers() as peak:
            found = run(
                "-m", "itl_infer", "embed-images", *cluster, str(folder), "--out", str(shards), *options
            )
        difference = _largest_difference(index, shards)
        of_cluster = _rate(found.output)
        embedding.add("Ray, two nodes", of_cluster, of_cluster / rate, f"{difference:.1e}", max(peak))
        found = run(*asked, "--shards", str(shards), *cluster)
        same = _same(alone.output, found.output)
        searching.add("Ray, two nodes", found.seconds, QUERIES / found.seconds, same)
    to = ["--to", str(ground.folder / "pictures.db"), "--collection", "pictures"]
    pushed = json.loads(run("-m", "itl_infer", "push", str(shards), *to, "--format", "json").output)
    assert pushed["added"] == PICTURES, pushed
    found = run(*asked, "-d", f"milvus:{ground.folder}/pictures.db#pictures")
    name = f"Milvus Lite, pushed at {pushed['pictures_per_second']:,.0f} rows/s"
    searching.add(name, found.seconds, QUERIES / found.seconds, _same(alone.output, found.output))
    yield embedding
    yield searching


@contextlib.contextmanager
def two_nodes(cpus: int) -> Iterator[str]:
    """The address of a Ray cluster of two nodes on this machine, with so many CPUs each."""
    from ray.cluster_utils import Cluster

    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }  # as the one process: 0, not 15
    node = {"num_cpus": cpus, "object_store_memory": 2**28}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def _peak_of_workers() -> Iterator[list[float]]:
    """The memory, in MB, that the processes of Ray's workers had at any time meanwhile."""
    seen, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            listing = subprocess.run(
                ["ps", "-eo", "rss,args"], capture_output=True, text=True, check=False
            ).stdout
            seen.extend(
                int(line.split()[0]) / 1024 for line in listing.splitlines() if " ray::MapWorker" in line
            )

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        done.set()
        looking.join()


def _draw_pictures(ground: Ground) -> Path:
    """A folder of pictures of which no two are the same: parts of the photographs, each a little aside of another."""
    folder = ground.folder / "pictures"
    folder.mkdir()
    per_photo = -(-PICTURES // len(ground.photos))
    for i, photo in enumerate(ground.photos):
        with Image.open(photo) as image:
            wide = image.convert("RGB").resize((_SIDE + per_photo, _SIDE + per_photo))
        for aside in range(per_photo):
            if (number := i * per_photo + aside) < PICTURES:
                part = wide.crop((aside, aside, aside + _SIDE, aside + _SIDE))
                part.save(folder / f"{number:05}.jpg", quality=85)
    return folder


def _queries(ground: Ground) -> Path:
    """Two words each."""
    words = ground.starter.words
    rng = np.random.default_rng(0)
    lines = [" ".join(words[i] for i in pair) for pair in rng.integers(0, len(words), (QUERIES, 2))]
    path = ground.folder / "queries.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _rate(output: str) -> float:
    report = json.loads(output)
    assert report["embedded"] == PICTURES, report
    return float(report["images_per_second"])


def _largest_difference(index: Path, shards: Path) -> float:
    """Between embeddings of one picture here and there."""
    from pyarrow import parquet

    of_one = Index.open(index, mode="r")
    rows = dict(zip(of_one.paths, of_one.embeddings, strict=True))
    table = parquet.read_table(shards, columns=["path", "embedding"])
    paths, embeddings = table["path"].to_pylist(), table["embedding"].combine_chunks().flatten().to_numpy()
    assert sorted(paths) == sorted(rows)
    expected = np.array([rows[path] for path in paths])
    return float(np.abs(embeddings.reshape(expected.shape) - expected).max())


def _same(expected: str, found: str) -> str:
    pairs = list(zip(expected.splitlines(), found.splitlines(), strict=True))
    return f"{sum(one == other for one, other in pairs):,} of {len(pairs):,}"
