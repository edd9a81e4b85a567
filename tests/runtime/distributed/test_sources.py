"""Every source of pictures becomes the same shards, on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import pytest

pytest.importorskip("ray", reason="working on a cluster needs the extra: pip install -e .[ray]")
pa = pytest.importorskip("pyarrow", reason="working on a cluster needs the extra: pip install -e .[ray]")
pytest.importorskip("ray.data", reason="working on a cluster needs the extra: pip install -e .[ray]")
import pyarrow.parquet as pq

import itl_infer
from itl_infer import distributed
from tests.runtime.distributed.helpers import (
    assert_whole,
    error_of,
    files_in,
    in_one_process,
    itl,
    rows_in,
    write_pictures,
)

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray warns of what it does itself
]


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


SOURCES = [as_folder, as_uri, as_list, as_iterator, as_table_of_uris, as_tables_of_paths, as_table_of_bytes]


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_becomes_shards_with_the_embeddings_of_one_process(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, source: Callable[[Path, Path], Any]
) -> None:
    assert_becomes_shards(source, bundle, pictures, tmp_path, None)


@pytest.mark.parametrize(
    "source",
    [
        as_table_of_bytes,
        *(pytest.param(other, marks=pytest.mark.slow) for other in SOURCES if other is not as_table_of_bytes),
    ],
)
def test_and_so_it_does_on_a_cluster(
    cluster: str,
    bundle: itl_infer.Bundle,
    pictures: Path,
    tmp_path: Path,
    source: Callable[[Path, Path], Any],
) -> None:
    assert_becomes_shards(source, bundle, pictures, tmp_path, cluster)


def assert_becomes_shards(
    source: Callable[[Path, Path], Any],
    bundle: itl_infer.Bundle,
    pictures: Path,
    tmp_path: Path,
    address: str | None,
) -> None:
    seen: list[distributed.Progress] = []
    report = distributed.embed(
        source(pictures, tmp_path),
        tmp_path / "out",
        bundle=bundle,
        address=address,
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


@pytest.mark.usefixtures("one_process")
def test_folders_are_walked_as_on_one_machine(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path
) -> None:
    write_pictures(pictures / ".hidden", 1)
    write_pictures(pictures / "@eaDir", 1)
    write_pictures(pictures / ".hidden" / ".Trash-1000", 1)
    options = {"bundle": bundle, "exclude": ["sub*", "*.jpg"], "include_hidden": True}
    for number, source in enumerate((pictures, pictures.as_uri())):
        for _ in range(2):  # begun, and gone on with
            report = distributed.embed(source, tmp_path / f"{number}", **options)
            assert report.system_files == {"@eaDir": 1, ".Trash*": 1}
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
    with in_one_process():
        again = distributed.embed([*with_keys, s3("none.png")], tmp_path / "again", **options)
    assert again.embedded == 13
    assert [row["embedding"] for row in rows_in(tmp_path / "again")[:15]] == [
        row["embedding"] for row in rows_in(tmp_path / "shards")
    ]
    assert "cannot be read" in rows_in(tmp_path / "again")[15]["error"]
    [answer] = distributed.search(["red"], s3("shards"), k=2, bundle=bundle, address=cluster)
    with in_one_process():
        [expected] = distributed.search(["red"], tmp_path / "shards", k=2, bundle=bundle)
    assert answer.to_json() == expected.to_json()


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
    nothing = "no pictures in there (JPEG, PNG, WebP, GIF, TIFF, BMP, JPEG 2000, AVIF, HEIC, JPEG XL or RAW)"
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


@pytest.mark.usefixtures("one_process")
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
