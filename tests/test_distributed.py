"""Embedding and searching on a real Ray cluster of two nodes on this machine; workers and drivers are killed."""

from __future__ import annotations

import http.server
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

EXTRA = "working on a cluster needs the extra: pip install -e .[ray]"
ray = pytest.importorskip("ray", reason=EXTRA)
pa = pytest.importorskip("pyarrow", reason=EXTRA)
pytest.importorskip("ray.data", reason=EXTRA)
import pyarrow.parquet as pq
from ray.cluster_utils import Cluster

import itl_infer
from itl_infer import distributed
from itl_infer.cli import main
from tests.tiny_bundle import EMBED_DIM, make_tiny_bundle

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray warns of what it does itself
]

ROOT = Path(__file__).parents[1]
# Python runs a module of this name at start-up: here, in every process of the nodes. Files beside it say what is
# wrong with them: a disk that is slow or full, a package that is not installed, a folder that is not mounted.
SITECUSTOMIZE = """
import errno, os, pathlib, sys, time

HERE = pathlib.Path(__file__).parent
fsync, is_dir, open_path, exists = os.fsync, pathlib.Path.is_dir, pathlib.Path.open, os.path.exists

def slow_or_full(descriptor):
    if exists(HERE / "slow"):
        time.sleep(0.4)
    if exists(HERE / "full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    fsync(descriptor)

def named(what, path):
    return exists(HERE / what) and open_path(HERE / what).read() == str(path)

def is_seen(path, **options):
    return is_dir(path, **options) and not named("unseen", path)

def open_or_die(path, *args, **options):
    if named("deadly", path):
        os._exit(1)
    return open_path(path, *args, **options)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "itl_infer" and exists(HERE / "absent"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

os.fsync, pathlib.Path.is_dir, pathlib.Path.open = slow_or_full, is_seen, open_or_die
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that decides what is wrong with the nodes."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return folder


@pytest.fixture(scope="module")
def cluster(nodes: Path) -> Iterator[str]:
    """The address of two nodes with a CPU each, to which this process is connected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(nodes), str(ROOT)]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else whatever else runs on this machine goes before
        node = {"num_cpus": 1, "object_store_memory": 2**27}
        started = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        started.add_node(**node)
        patch.delenv("PYTHONPATH")
        ray.init(address=started.address, log_to_driver=False, logging_level="error")
        yield started.address
        ray.shutdown()
        started.shutdown()


@pytest.fixture
def node_is(nodes: Path) -> Iterator[Callable[..., None]]:
    """Makes something wrong with the nodes, until the test is over."""
    made = set()

    def make(what: str, detail: str = "") -> None:
        made.add(nodes / what)
        (nodes / what).write_text(detail)

    yield make
    for file in made:
        file.unlink()


@pytest.fixture
def bundle(tiny_bundle: Path) -> itl_infer.Bundle:
    return itl_infer.load_bundle(tiny_bundle)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Thirteen good ones of plain colours, two of them the same, in two folders; a bad one, and one that is empty."""
    folder = tmp_path / "Pictures"
    write_pictures(folder, 8)
    write_pictures(folder / "sub folder", 4, seed=50)
    (folder / "sub folder" / "100%#same?.png").write_bytes((folder / "003.png").read_bytes())
    (folder / "bad.jpg").write_bytes(b"bad")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("no picture")
    return folder


def write_pictures(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        colour = tuple(random.Random(seed + i).randrange(256) for _ in range(3))
        Image.new("RGB", (8, 8), colour).save(folder / f"{i:03}.png")


def files_in(folder: Path) -> list[str]:
    """The pictures, in the order in which they are embedded."""
    from itl_infer.walk import Walk

    return [found.path for found in Walk(folder)]


def rows_in(out: Path) -> list[dict[str, Any]]:
    """The rows of all shards, in order."""
    rows: list[dict[str, Any]] = []
    for shard in sorted(out.glob("part-*.parquet")):
        table = pq.read_table(shard)
        assert table.schema.names == ["path", "embedding", "error"]
        assert table.schema.field("embedding").type == pa.list_(pa.float32(), 128)
        rows += table.to_pylist()
    return rows


def assert_whole(
    out: Path,
    bundle: itl_infer.Bundle,
    paths: list[str],
    names: list[str] | None = None,
    failing: tuple[str, ...] = ("bad", "empty"),
) -> None:
    """The shards hold each path once, in order, with the embedding that one process gives it, or an error."""
    rows = rows_in(out)
    assert [row["path"] for row in rows] == (names or paths)
    for path, row in zip(paths, rows, strict=True):
        if Path(path).stem in failing:
            assert row["embedding"] == [0] * EMBED_DIM
            assert row["error"]
        else:
            assert row["error"] is None
            np.testing.assert_allclose(row["embedding"], bundle.embed_images([path])[0], rtol=0, atol=1e-6)
    assert not list(out.glob("*.part"))


def itl(*args: str | Path, **options: Any) -> Result:
    """A command in this process, which is connected to the cluster."""
    return CliRunner().invoke(main, [str(arg) for arg in args], **options)


def error_of(result: Result | subprocess.CompletedProcess[str], exit_code: int = 1) -> str:
    """The error that a command ended with, on one line."""
    found = result.exit_code if isinstance(result, Result) else result.returncode
    assert found == exit_code, result.stderr
    lines = result.stderr.splitlines()
    assert "Traceback" not in result.stderr
    assert lines[-1].startswith("Error: ")
    assert [line for line in lines if line.startswith("Error: ")] == lines[-1:]
    return lines[-1].removeprefix("Error: ")


def command(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    run = [sys.executable, "-m", "itl_infer", *map(str, args)]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **options)


# Sources


def as_folder(pictures: Path, tmp_path: Path) -> Any:  # noqa: ARG001
    return pictures


def as_uri(pictures: Path, tmp_path: Path) -> Any:  # noqa: ARG001
    return pictures.as_uri()


def as_list(pictures: Path, tmp_path: Path) -> Any:
    """Of all kinds: absolute and relative paths and a URI, with a mark and line ends as Windows has them."""
    first, second, *rest = files_in(pictures)
    lines = [os.path.relpath(first, tmp_path), Path(second).as_uri(), *rest]
    (tmp_path / "list.txt").write_bytes("\r\n".join(["\ufeff" + lines[0], "", *lines[1:], ""]).encode())
    return tmp_path / "list.txt"


def as_iterator(pictures: Path, tmp_path: Path) -> Any:  # noqa: ARG001
    return map(Path, files_in(pictures))


def as_table_of_uris(pictures: Path, tmp_path: Path) -> Any:
    uris = [Path(path).as_uri() for path in files_in(pictures)]
    pq.write_table(pa.table({"caption": uris, "uri": uris}), tmp_path / "uris.parquet", row_group_size=4)
    return tmp_path / "uris.parquet"


def as_tables_of_paths(pictures: Path, tmp_path: Path) -> Any:
    """A folder of two, with paths relative to that."""
    (tmp_path / "tables").mkdir()
    paths = [os.path.relpath(path, tmp_path / "tables") for path in files_in(pictures)]
    for name, part in (("a.parquet", paths[:5]), ("b.parquet", paths[5:])):
        pq.write_table(pa.table({"path": pa.array(part, pa.large_string())}), tmp_path / "tables" / name)
    return tmp_path / "tables"


def as_table_of_bytes(pictures: Path, tmp_path: Path) -> Any:
    """Row groups that are larger than shards, and smaller ones."""
    paths = files_in(pictures)
    table = pa.table({"path": paths, "bytes": [Path(path).read_bytes() or None for path in paths]})
    with pq.ParquetWriter(tmp_path / "bytes.parquet", table.schema) as writer:
        for first, end in ((0, 10), (10, 12), (12, 15)):
            writer.write_table(table[first:end])
    return tmp_path / "bytes.parquet"


@pytest.mark.parametrize(
    "source",
    [as_folder, as_uri, as_list, as_iterator, as_table_of_uris, as_tables_of_paths, as_table_of_bytes],
)
def test_every_source_becomes_shards_with_the_embeddings_of_one_process(
    cluster: str,
    bundle: itl_infer.Bundle,
    pictures: Path,
    tmp_path: Path,
    source: Callable[[Path, Path], Any],
) -> None:
    seen: list[distributed.Progress] = []
    report = distributed.embed(
        source(pictures, tmp_path),
        tmp_path / "out",
        bundle=bundle,
        address=cluster,
        shard_rows=4,
        progress=seen.append,
    )
    paths = files_in(pictures)
    names = [row["path"] for row in rows_in(tmp_path / "out")]
    plain = [url2pathname(name.removeprefix("file://")) if "://" in name else name for name in names]
    assert plain == paths
    assert_whole(tmp_path / "out", bundle, paths, names)
    assert (report.embedded, report.kept, report.failed) == (13, 0, 2)
    assert len(report.failures) == 2
    assert report.shards == len(list((tmp_path / "out").glob("part-*.parquet"))) >= 4
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert (seen[0].done, seen[-1].done, seen[-1].total, seen[-1].eta_seconds) == (0, 15, 15, 0)


def test_folders_are_walked_as_on_one_machine(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path
) -> None:
    write_pictures(pictures / ".hidden", 1)
    options = {"bundle": bundle, "address": cluster, "exclude": ["sub*", "*.jpg"], "include_hidden": True}
    for number, source in enumerate((pictures, pictures.as_uri())):
        distributed.embed(source, tmp_path / f"{number}", **options)
        names = [Path(row["path"]).name for row in rows_in(tmp_path / f"{number}")]
        assert names == [*(f"{i:03}.png" for i in range(8)), "empty.png", "000.png"]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Makes URIs of a bucket in a store of this machine that speaks S3; the keys to it are in them."""
    pytest.importorskip("moto.server", reason="S3 is tested with moto: pip install -e .[test]")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=log, stderr=log)
    options = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    from pyarrow import fs

    store, _ = fs.FileSystem.from_uri(f"s3://key:secret@bucket/?{options}&allow_bucket_creation=true")
    store.create_dir("bucket")
    yield lambda path: f"s3://key:secret@bucket/{path}?{options}"
    server.kill()
    server.wait()
    log.close()


def test_an_object_store(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, s3: Callable[[str], str]
) -> None:
    from pyarrow import fs

    store, _ = fs.FileSystem.from_uri(s3(""))
    fs.copy_files(str(pictures), "bucket/pictures", destination_filesystem=store)
    options = {"bundle": bundle, "address": cluster, "shard_rows": 4}
    report = distributed.embed(s3("pictures"), s3("shards"), **options)
    assert (report.embedded, report.failed, report.shards) == (13, 2, 4)
    assert distributed.embed(s3("pictures"), s3("shards"), **options).kept == 15
    (tmp_path / "shards").mkdir()
    fs.copy_files("bucket/shards", str(tmp_path / "shards"), source_filesystem=store)
    paths = files_in(pictures)
    names = [row["path"] for row in rows_in(tmp_path / "shards")]
    assert (
        "s3://key@bucket/pictures/sub%20folder/100%25%23same%3F.png" in names
    )  # a URI, without what is secret
    assert_whole(tmp_path / "shards", bundle, paths, names)
    with_keys = [name.replace("key@", "key:secret@") + "?" + s3("").partition("?")[2] for name in names]
    assert distributed.embed([*with_keys, s3("none.png")], tmp_path / "again", **options).embedded == 13
    assert [row["embedding"] for row in rows_in(tmp_path / "again")[:15]] == [
        row["embedding"] for row in rows_in(tmp_path / "shards")
    ]
    assert "cannot be read" in rows_in(tmp_path / "again")[15]["error"]
    [answer] = distributed.search(["red"], s3("shards"), k=2, bundle=bundle, address=cluster)
    [expected] = distributed.search(["red"], tmp_path / "shards", k=2, bundle=bundle, address=cluster)
    assert answer.to_json() == expected.to_json()


# Kills


def workers() -> list[int]:
    """The processes that embed."""
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if " ray::MapWorker" in line]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_worker_is_killed(
    cluster: str, bundle: itl_infer.Bundle, tmp_path: Path, node_is: Callable[..., None]
) -> None:
    write_pictures(tmp_path / "Pictures", 24)
    node_is("slow")
    killed: list[int] = []

    def kill(progress: distributed.Progress) -> None:
        if progress.done and not killed:
            time.sleep(0.2)  # into the next shard
            killed.append(random.choice(workers()))
            os.kill(killed[0], signal.SIGKILL)

    report = distributed.embed(
        tmp_path / "Pictures", tmp_path / "out", bundle=bundle, address=cluster, shard_rows=2, progress=kill
    )
    assert killed
    assert report.embedded + report.kept == 24  # kept: written, and the worker killed before it could say so
    assert report.failed == 0
    assert_whole(tmp_path / "out", bundle, files_in(tmp_path / "Pictures"))


@pytest.mark.parametrize("by", ["SIGKILL", "SIGINT"])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_the_driver_is_killed(
    cluster: str,
    bundle: itl_infer.Bundle,
    tmp_path: Path,
    node_is: Callable[..., None],
    by: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_pictures(tmp_path / "Pictures", 24)
    node_is("slow")
    out = tmp_path / "out"
    shards = 12
    monkeypatch.setenv("ITL_BUNDLE", str(bundle.path))
    code = "import sys, itl_infer.cli, itl_infer.distributed.plan as plan; plan._FEWEST_ROWS = 2; itl_infer.cli.run()"
    args = ["embed-images", "--ray", cluster, tmp_path / "Pictures", "--out", out]
    driver = subprocess.Popen(
        [sys.executable, "-c", code, *args], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while len(list(out.glob("part-*.parquet"))) < 3:
        assert driver.poll() is None
        time.sleep(0.02)
    os.kill(driver.pid, getattr(signal, by))
    stdout, stderr = driver.communicate()
    finished = {
        shard.name: (shard.stat().st_ino, shard.stat().st_mtime_ns) for shard in out.glob("part-*.parquet")
    }
    assert 3 <= len(finished) < shards
    assert driver.returncode == (130 if by == "SIGINT" else -signal.SIGKILL)
    assert stdout == b""
    assert stderr == (b"\nInterrupted; what was done is kept.\n" if by == "SIGINT" else b"")

    (out / f"part-000000.parquet.{'0' * 32}.part").touch()  # as of a worker that was killed while it wrote
    report = distributed.embed(tmp_path / "Pictures", out, bundle=bundle, address=cluster)
    assert report.shards == shards
    assert report.kept >= 2 * len(finished)
    assert report.kept + report.embedded == 24
    assert_whole(out, bundle, files_in(tmp_path / "Pictures"))
    for name, was in finished.items():
        assert ((out / name).stat().st_ino, (out / name).stat().st_mtime_ns) == was


def test_a_picture_that_kills_workers_ends_the_run(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, node_is: Callable[..., None]
) -> None:
    node_is("deadly", str(pictures / "sub folder" / "001.png"))
    run = ("embed-images", "--ray", cluster, pictures, "--out", tmp_path / "out", "-m", bundle.path)
    error = error_of(itl(*run))
    assert error.startswith("the cluster could not go on: 5 workers died over shard 0, the last on node")


# Once more


def test_what_failed_is_tried_again_where_that_is_asked_for(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path
) -> None:
    options = {"bundle": bundle, "address": cluster, "shard_rows": 4}
    distributed.embed(pictures, tmp_path / "out", **options)
    Image.new("RGB", (8, 8), "red").save(pictures / "bad.jpg")
    before = {shard: shard.stat().st_mtime_ns for shard in (tmp_path / "out").glob("part-*.parquet")}
    assert distributed.embed(pictures, tmp_path / "out", **options).kept == 15
    report = distributed.embed(pictures, tmp_path / "out", retry_failed=True, **options)
    assert (report.embedded, report.kept, report.failed) == (1, 13, 1)
    assert_whole(tmp_path / "out", bundle, files_in(pictures), failing=("empty",))
    assert sum(shard.stat().st_mtime_ns != was for shard, was in before.items()) == 1  # both stood in one


def test_a_full_disk_costs_nothing_that_is_finished(
    cluster: str,
    bundle: itl_infer.Bundle,
    pictures: Path,
    tmp_path: Path,
    node_is: Callable[..., None],
    nodes: Path,
) -> None:
    node_is("slow")

    def fill(progress: distributed.Progress) -> None:
        if progress.done:
            (nodes / "full").touch()

    options = {"bundle": bundle, "address": cluster, "shard_rows": 2}
    with pytest.raises(
        itl_infer.ClusterError, match=r"shard \d+ cannot be written: No space left on device; what is"
    ):
        distributed.embed(pictures, tmp_path / "out", progress=fill, **options)
    error = error_of(
        itl("embed-images", "--ray", cluster, pictures, "--out", tmp_path / "other", "-m", bundle.path)
    )
    assert error.startswith(
        f"{tmp_path / 'other'}: shard 0 cannot be written: No space left on device; what is"
    )
    (nodes / "full").unlink()
    finished = len(list((tmp_path / "out").glob("part-*.parquet")))
    assert 1 <= finished < 8
    report = distributed.embed(pictures, tmp_path / "out", **options)
    assert report.kept in (2 * finished, 2 * finished - 1)
    assert_whole(tmp_path / "out", bundle, files_in(pictures))


# Nodes


def test_a_node_without_the_package(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, node_is: Callable[..., None]
) -> None:
    node_is("absent")
    error = error_of(
        itl("embed-images", "--ray", cluster, pictures, "--out", tmp_path / "out", "-m", bundle.path)
    )
    assert "No module named 'itl_infer'" in error
    assert "pip install 'itl-infer[ray]' on every node" in error


def test_a_node_that_does_not_see_a_folder(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, node_is: Callable[..., None]
) -> None:
    run = ("embed-images", "--ray", cluster, pictures, "--out", tmp_path / "out", "-m", bundle.path)
    for folder in (pictures, tmp_path / "out"):
        node_is("unseen", str(folder))
        error = error_of(itl(*run))
        assert error.startswith(
            f"{folder}: node {socket.gethostname()} does not see this folder: give one that all"
        )
    assert not rows_in(tmp_path / "out")


# Search


def write_shards(out: Path, bundle: itl_infer.Bundle, shards: list[np.ndarray], **changes: Any) -> None:
    """As the format is written down; rows of zeros have an error."""
    out.mkdir()
    for number, embeddings in enumerate(shards):
        failed = ~embeddings.any(axis=1)
        width = changes.get("width", EMBED_DIM)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings[:, :width].reshape(-1)), width)
        table = pa.table(
            {
                "path": [f"/{number}/{row}.jpg" for row in range(len(embeddings))],
                changes.get("column", "embedding"): vectors,
                "error": ["damaged" if bad else None for bad in failed],
            }
        )
        made_with = changes.get("fingerprint", bundle.fingerprint)
        table = table.replace_schema_metadata({"itl_infer.bundle": made_with})
        pq.write_table(table, out / f"part-{number:06}.parquet")


def random_shards(sizes: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    """Unit rows, each of them several times over all, some of zeros."""
    rng = np.random.default_rng(seed)
    rows = np.abs(rng.standard_normal((sum(sizes) // 5 + 1, EMBED_DIM))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[0] = 0
    every = rows[rng.integers(0, len(rows), sum(sizes))]
    return np.split(every, np.cumsum(sizes)[:-1])


@pytest.mark.parametrize("k", [7, 2000])
def test_search_is_the_ranking_of_one_machine(
    cluster: str, bundle: itl_infer.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    monkeypatch.setattr("itl_infer.distributed.searching._GROUP_BYTES", 300_000)  # two or three shards
    shards = random_shards((400, 1, 300, 500))
    write_shards(tmp_path / "out", bundle, shards)
    queries = ["red", "a green wave", "blue", "bright red", "zzz", "green"]
    every = np.concatenate(shards)
    paths = [f"/{number}/{row}.jpg" for number, part in enumerate(shards) for row in range(len(part))]
    good = np.flatnonzero(every.any(axis=1))
    indices, scores = itl_infer.rank(bundle.embed_texts([q for q in queries if q != "zzz"]), every[good], k)
    answers = distributed.search(queries, tmp_path / "out", k=k, bundle=bundle, address=cluster)
    assert isinstance(answers.pop(4), itl_infer.QueryError)
    for answer, index, score in zip(answers, indices, scores, strict=True):
        assert isinstance(answer, itl_infer.Answer)
        assert [found.path for found in answer.results] == [paths[good[row]] for row in index]
        assert [found.score for found in answer.results] == score.tolist()
        assert [found.rank for found in answer.results] == list(range(1, len(index) + 1))
        assert answer.pictures == len(good)


def test_batch_prints_what_it_prints_of_an_index(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITL_BUNDLE", str(bundle.path))
    monkeypatch.setenv(
        "ITL_INDEX", str(tmp_path / "photos.itl")
    )  # in the environment it stands in nobody's way
    distributed.embed(pictures, tmp_path / "out", bundle=bundle, address=cluster, shard_rows=4)
    assert itl("embed-images", pictures).exit_code == 0
    (tmp_path / "queries.txt").write_bytes(b"red\nzzz\na bright \xff wave\nblue\n\ngreen wave")
    monkeypatch.setattr("itl_infer.cli.cluster.queries_at_once", lambda _: 4)
    asked = ("batch", tmp_path / "queries.txt")
    expected = itl(*asked)
    found = command(
        *asked, "--shards", tmp_path / "out", "--ray", cluster
    )  # in a process of its own, as people do
    assert (found.stdout, found.stderr) == (expected.stdout, expected.stderr)
    assert found.returncode == expected.exit_code == 1  # a line is not UTF-8
    options = ("-k", "3", "--min-score", "0.8")
    found = itl("batch", "--ray", *asked[1:], "--shards", tmp_path / "out", *options)
    assert found.stdout_bytes == itl(*asked, *options).stdout_bytes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "ab" * 32}, "part-000000.parquet: made with bundle abababababab, not with 'tiny'"),
        (
            {"width": 64},
            "the column embedding is fixed_size_list<element: float>[64], expected 128 numbers: is it of this bundle?",
        ),
        ({"column": "vector"}, "no column 'embedding', only path, vector, error: is it of itl-infer?"),
        (
            {"value": np.nan},
            "damaged: embeddings that are not of unit length",
        ),
        ({"text": "no Parquet"}, "part-000000.parquet: cannot be read: Parquet magic bytes not found"),
    ],
)
def test_shards_that_cannot_be_searched(
    cluster: str, bundle: itl_infer.Bundle, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    out = tmp_path / "out"
    shards = random_shards((20,))
    shards[0][7, 5] = changes.get("value", 0)
    write_shards(out, bundle, shards, **changes)
    if "text" in changes:
        (out / "part-000000.parquet").write_text(changes["text"] * 20)
    error = error_of(itl("batch", "-", "--shards", out, "--ray", cluster, "-m", bundle.path, input="red\n"))
    assert message in error
    assert error.startswith(str(out))


def test_shards_that_are_not_all_there(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path
) -> None:
    run = ("batch", "-", "--shards", tmp_path / "out", "--ray", cluster, "-m", bundle.path)
    assert error_of(itl(*run, input="red\n")).startswith(
        f"{tmp_path / 'out'}: no shards (part-000000.parquet, ...) in"
    )
    distributed.embed(pictures, tmp_path / "out", bundle=bundle, address=cluster, shard_rows=4)
    (tmp_path / "out" / "part-000002.parquet").unlink()
    error = error_of(itl(*run, input="red\n"))
    assert error.startswith(
        f"{tmp_path / 'out'}: 1 of 4 shards are not there yet: run the same `itl-infer embed-"
    )


# Bad input, before a cluster has anything to do


@pytest.fixture
def other_server() -> Iterator[int]:
    """The port of a server that is not Ray's."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("what", ["embed-images", "batch"])
def test_an_address_that_does_not_answer(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, other_server: int, what: str
) -> None:
    out = tmp_path / "out"
    run = (
        ["embed-images", pictures, "--out", out]
        if what == "embed-images"
        else ["batch", "-", "--shards", out]
    )
    for address, message in (
        (
            "127.0.0.1:1",
            "Ray at 127.0.0.1:1: no answer (Connection refused): is it running, and is this its address?",
        ),
        (
            f"127.0.0.1:{other_server}",
            f"Ray at 127.0.0.1:{other_server}: something else answers there: give the port",
        ),
        (
            "ray://127.0.0.1:10001",
            "ray://127.0.0.1:10001: Ray Data does not work through Ray Client: give HOST:PORT",
        ),
    ):
        assert error_of(command(*run, "--ray", address, "-m", bundle.path, input="red\n")).startswith(message)
    assert not out.exists()


@pytest.mark.parametrize("module", ["ray", "pyarrow"])
def test_without_the_extra_its_installation_is_named(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, module: str
) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; import itl_infer.cli; itl_infer.cli.run()"
    for run in (
        ["embed-images", pictures, "--out", tmp_path / "out", "--ray"],
        ["batch", "-", "--shards", tmp_path],
    ):
        args = [sys.executable, "-c", code, *map(str, run), "-m", str(bundle.path)]
        found = subprocess.run(args, cwd=ROOT, input="red\n", capture_output=True, text=True, check=False)
        assert error_of(found) == "working on a cluster needs Ray: pip install 'itl-infer[ray]'"
    assert not (tmp_path / "out").exists()


def sources_that_cannot_be_used(folder: Path) -> Iterator[tuple[Any, str]]:
    """Each with what is said of it, after its name."""
    (folder / "empty").mkdir()
    (folder / "empty.txt").write_text("\n\n")
    (folder / "other.csv").write_text("a,b\n")
    (folder / "damaged.parquet").write_text("no Parquet" * 10)
    for name, table in (
        ("columns", {"caption": ["a"], "id": [1]}),
        ("width", {"path": [1, 2]}),
        ("kind", {"bytes": ["a.jpg"]}),
        ("rows", {"path": pa.array([], pa.string())}),
    ):
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    nothing = "no pictures in there (JPEG, PNG, WebP, GIF, TIFF or BMP)"
    yield folder / "none", "no such file or folder: check the name"
    yield folder / "empty", nothing
    yield folder / "empty.txt", nothing
    yield folder / "rows.parquet", nothing
    yield folder / "other.csv", "expected a folder, a picture, a .txt file of locations, or .parquet"
    yield folder / "damaged.parquet", "cannot be read: Parquet magic bytes not found"
    yield (
        folder / "columns.parquet",
        "has the columns caption, id, expected bytes (pictures), uri or path (where",
    )
    yield folder / "width.parquet", "the column path is int64, expected string"
    yield folder / "kind.parquet", "the column bytes is string, expected binary"
    yield "nosuch://bucket/pictures", "no such place: Protocol not known: nosuch"


def test_a_source_that_cannot_be_used(bundle: itl_infer.Bundle, tmp_path: Path) -> None:
    for source, message in sources_that_cannot_be_used(tmp_path):
        run = ("embed-images", source, "--out", tmp_path / "out", "-m", bundle.path, "--ray")
        assert error_of(itl(*run)).startswith(f"{source}: {message}")
        assert not (tmp_path / "out").exists()
    with pytest.raises(itl_infer.ClusterError, match="the list of pictures: no pictures in there"):
        distributed.embed([], tmp_path / "out", bundle=bundle)


def test_an_out_that_holds_something_else(
    cluster: str, bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path
) -> None:
    def run(source: Path, out: Path, *options: Any, bundle: Any = bundle.path) -> str:
        return error_of(itl("embed-images", "--ray", cluster, source, "--out", out, "-m", bundle, *options))

    other = "give a folder that is empty, or not there yet"
    assert run(pictures, pictures) == f"{pictures}: holds something else (000.png): {other}"
    file = pictures / "000.png"
    assert run(pictures, file).startswith(f"{file}: cannot be used: ")
    assert run(pictures, file / "out").startswith(f"{file / 'out'}: cannot be ")

    out, names = tmp_path / "out", tmp_path / "names.txt"
    names.write_text(f"{pictures / '000.png'}\n{pictures / '001.png'}\n")
    distributed.embed(names, out, bundle=bundle, address=cluster)
    before = rows_in(out)
    again = "give the same again to go on, or another --out"
    assert (
        run(pictures, out) == f"{out}: was begun with source {short(names)}, not {short(pictures)}: {again}"
    )
    another = make_tiny_bundle(
        tmp_path / "another",
        text={"tokenizer": "nltk-word", "stop_words": [], "stemmer": "snowball-english", "forms": None},
    )
    fingerprint = itl_infer.load_bundle(another).fingerprint
    assert f"was begun with bundle {short(bundle.fingerprint)}, not {short(fingerprint)}" in run(
        names, out, bundle=another
    )
    assert f"was begun with exclude [], not ['*.jpg']: {again}" in run(names, out, "--exclude", "*.jpg")
    names.write_text(f"{pictures / '000.png'}\n{pictures / '002.png'}\n")
    assert run(names, out) == f"{out}: was begun with other pictures in {names}: {again}"
    assert rows_in(out) == before
    (out / "_plan").write_bytes(b"damaged")
    assert run(names, out).startswith(f"{out / '_plan'}: cannot be read: ")


def short(value: Any) -> str:
    """As long names are shown."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:12]}...{text[-45:]}"


def test_locations_that_cannot_be_read(cluster: str, bundle: itl_infer.Bundle, tmp_path: Path) -> None:
    names = [f"{tmp_path / 'none.png'}", "nosuch://bucket/a.jpg", (tmp_path / "none").as_uri()]
    (tmp_path / "names.txt").write_text("\n".join(names))
    run = (
        "embed-images",
        "--ray",
        cluster,
        tmp_path / "names.txt",
        "--out",
        tmp_path / "out",
        "-m",
        bundle.path,
    )
    result = itl(*run)
    assert error_of(result) == "none of the 3 pictures could be embedded; --retry-failed tries them again"
    assert result.stderr.splitlines()[:2] == [
        f"{names[0]}: cannot be read: No such file or directory",
        "nosuch://bucket/a.jpg: no such place: Protocol not known: nosuch",
    ]
    assert result.stderr.splitlines()[2].startswith(f"{names[2]}: cannot be read: ")
    assert [row["path"] for row in rows_in(tmp_path / "out")] == names


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("embed-images a --out b", "--out goes with --ray"),
        ("embed-images a --ray", "Name the folder of the shards: --out shards."),
        (
            "embed-images a b --ray --out c",
            "--ray takes one source (a folder, a .txt file or Parquet), not 2; an address",
        ),
        ("embed-images --ray head --out c a", "not 2; an address is HOST:PORT or auto."),
        ("embed-images --ray --out c", "--ray takes one source"),
        ("embed-images --ray a --out c -d d", "--index goes with an index, not with --ray."),
        ("embed-images --ray a --out c --prune", "--prune goes with an index, not with --ray."),
        ("batch a --ray", "--ray searches shards: name their folder, --shards shards."),
        ("batch a --shards b --relevant", "--relevant needs an index on this machine (-d), not --shards."),
        ("batch a --shards b --sheet c.html", "--sheet needs an index on this machine (-d), not --shards."),
    ],
)
def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("red\n")
    assert message in error_of(itl(*args.split()), exit_code=2)


@pytest.mark.parametrize("settings", [{"cpus": 0}, {"shard_rows": 0}])
def test_settings_that_mean_nothing(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected above 0, and 1 or more"):
        distributed.embed(tmp_path, tmp_path / "out", **settings)


# What it costs


def test_a_plan_needs_no_memory_for_its_pictures(bundle: itl_infer.Bundle, tmp_path: Path) -> None:
    from itl_infer.distributed.plan import open_plan
    from itl_infer.distributed.source import Source

    count = 200_000
    tracemalloc.start()  # pyarrow is imported by now
    plan = open_plan(
        str(tmp_path), Source(f"s3://bucket/folder/{i:09}.jpg" for i in range(count)), bundle, None
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(plan.pieces) == count
    assert peak < 10e6  # the names alone would take twice that
    assert (tmp_path / "_plan").stat().st_size < 5 * count


def test_without_ray_nothing_of_it_is_imported(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1", "ITL_BUNDLE": str(bundle.path)}
    index = tmp_path / "photos.itl"
    for run in (
        ["embed-images", pictures, "-d", index],
        ["batch", "-", "-d", index],
        ["embed-images", "--help"],
    ):
        done = command(*run, input="red\n", env=environment)
        assert done.returncode == 0
        imported = [
            line.rpartition("|")[2].strip()
            for line in done.stderr.splitlines()
            if line.startswith("import time")
        ]
        assert "itl_infer.cli.group" in imported
        kept_out = ("ray", "pyarrow", "itl_infer.distributed", "itl_infer.cli.cluster")
        assert not [name for name in imported if name.startswith(kept_out)]
