"""Collections of Milvus, on a real Milvus Lite: in this process as a file, and in another one as a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import itl_infer
from itl_infer import (
    Bundle,
    ClusterError,
    Index,
    IndexStoreError,
    Query,
    QueryError,
    Searcher,
    embed_directory,
    load_bundle,
    open_store,
    rank,
)
from itl_infer.cli import main
from itl_infer.index import Picture
from itl_infer.milvus.address import Address
from itl_infer.milvus.engine import Engine
from itl_infer.milvus.rows import key_of, path_to_text, text_to_path
from itl_infer.parquet import shards
from tests.terminal import run_with_terminal
from tests.tiny_bundle import make_tiny_bundle, save_colours

INSTALL = "pip install 'itl-infer[milvus]'"
pytest.importorskip("pymilvus", reason=f"needs the extra: {INSTALL}")
pytest.importorskip("milvus_lite", reason=f"needs the extra: {INSTALL}")
from itl_infer import milvus
from itl_infer.milvus.collection import CollectionView
from tests.places import ROOT

pytestmark = pytest.mark.cluster

DIM = 128
COLOURS = ["red", "green", "blue", "white", "purple", "yellow", "teal", "orange"]


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture(autouse=True)
def _tiny_bundle_is_the_default(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))
    monkeypatch.delenv("ITL_INDEX", raising=False)
    monkeypatch.delenv("MILVUS_TOKEN", raising=False)


def run(*args: str | Path, **options: Any) -> Result:
    """A command in this process."""
    return CliRunner().invoke(main, [str(arg) for arg in args], **options)


def process(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "itl_infer", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


def output_of(*args: str | Path, **options: Any) -> str:
    result = run(*args, **options)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return result.stdout


def error_of(*args: str | Path, exit_code: int = 1) -> str:
    """The one line of a command that fails."""
    result = run(*args)
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (exit_code, "")
    [line] = result.stderr.splitlines()
    return line


def unit_rows(rows: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def write_rows(path: Path, bundle: Bundle, embeddings: np.ndarray, names: list[bytes] | None = None) -> Index:
    """An index of embeddings, of pictures that are nowhere."""
    index = Index.open(path, bundle)
    with index.writing() as writer:
        root = writer.add_root(path.parent / "nowhere")
        for i, embedding in enumerate(embeddings):
            name = names[i] if names else b"%05d.jpg" % i
            writer.add(Picture(root.id, name, 1, 1, b"%016d" % i), embedding)
        writer.commit()
    return index


def write_shard(path: Path, paths: list[str], embeddings: np.ndarray, fingerprint: str) -> None:
    """What `embed-images --ray` writes; the paths beyond the embeddings are of pictures that failed."""
    from pyarrow import fs

    path.parent.mkdir(exist_ok=True)
    failed = len(paths) - len(embeddings)
    padded = np.concatenate([embeddings, np.zeros((failed, embeddings.shape[1]), np.float32)])
    rows = shards.Rows(paths, padded, [None] * len(embeddings) + ["truncated"] * failed)
    shards.write_shard(fs.LocalFileSystem(), str(path), rows, fingerprint)


def drop(index: Index, paths: list[str]) -> None:
    with index.writing() as writer:
        [root] = writer.roots().values()
        for path in paths:
            writer.drop(root.id, Path(path).name.encode())
        writer.commit()


@pytest.fixture
def colours(tmp_path: Path, bundle: Bundle) -> Index:
    """Eight plain pictures, and their index."""
    save_colours(tmp_path / "pictures", COLOURS)
    index = Index.open(tmp_path / "photos.itl", bundle)
    embed_directory(tmp_path / "pictures", index)
    return index


@pytest.fixture
def pushed(colours: Index) -> str:
    """The address of a collection of these."""
    milvus.push(colours.path, f"milvus:{colours.path.parent}/photos.db#photos")
    return f"milvus:{colours.path.parent}/photos.db#photos"


def rows_of(address: str) -> dict[str, np.ndarray]:
    """Every path of a collection with its embedding; fails where one is there twice, or under a wrong key."""
    found: dict[str, np.ndarray] = {}
    with milvus.Collection.open(address) as collection:
        for block in collection.read_all(["id", "path", "embedding"]):
            for row in block:
                path = text_to_path(row["path"])
                assert path not in found
                assert row["id"] == key_of(path)
                found[path] = np.array(row["embedding"], np.float32)
        assert collection.count() == len(found)
    return found


def assert_holds(address: str, index: Index) -> None:
    """The collection has the rows of the index, to the last bit, each once, and no more."""
    found = rows_of(address)
    assert found.keys() == set(index.paths)
    for path, embedding in zip(index.paths, index.embeddings, strict=True):
        np.testing.assert_array_equal(found[path], embedding, path)


# --- addresses, keys, paths


@pytest.mark.parametrize(
    ("text", "uri", "name", "shown"),
    [
        ("milvus:photos.db#photos", "photos.db", "photos", None),
        ("milvus:C:\\my # photos.db#_p1", "C:\\my # photos.db", "_p1", None),
        ("milvus:http://localhost:19530#photos", "http://localhost:19530", "photos", None),
        ("milvus:https://[::1]:443/db#p", "https://[::1]:443/db", "p", None),
        ("milvus:http://ada:secret@host#p", "http://ada:secret@host", "p", "milvus:http://host#p"),
    ],
)
def test_an_address(text: str, uri: str, name: str, shown: str | None) -> None:
    address = Address.parse(text)
    assert (address.uri, address.name, dict(address.search)) == (uri, name, {})
    assert str(address) == (shown or text)
    assert (address.lite is None) == ("://" in uri)
    assert address.has_credentials == ("@" in uri)
    assert Address.parse(f"{text}?ef=200&nprobe=8.5").search == {"ef": 200, "nprobe": 8.5}


@given(st.text())
def test_any_other_text_is_no_address_and_says_so_in_one_line(text: str) -> None:
    with contextlib.suppress(IndexStoreError):
        address = Address.parse(f"milvus:{text}")
        assert Address.parse(str(address)).name == address.name
        return
    with pytest.raises(IndexStoreError) as caught:
        Address.parse(f"milvus:{text}")
    assert "expected" in str(caught.value) or "name" in str(caught.value)


@given(st.binary(max_size=30).filter(lambda name: b"\0" not in name))
def test_every_path_is_a_text_and_comes_back(name: bytes) -> None:
    path = os.fsdecode(name)
    text = path_to_text(path)
    text.encode()
    assert text_to_path(text) == path
    assert re.fullmatch("[0-9a-f]{32}", key_of(path))


def test_private_characters_of_a_path_are_not_mistaken_for_bytes() -> None:
    names = ["\U0010ffe9.jpg", os.fsdecode(b"\xe9.jpg"), "\U0010ff00", "é.jpg"]
    assert len({path_to_text(name) for name in names}) == 4
    assert [text_to_path(path_to_text(name)) for name in names] == names


def test_what_is_built_for_how_many_rows() -> None:
    assert str(Engine.for_rows(100_000)) == "FLAT"
    assert str(Engine.for_rows(100_001)) == "HNSW (M 16, efConstruction 200)"
    assert str(Engine.for_rows(30_000_000)) == "IVF_SQ8 (nlist 21909)"
    assert str(Engine.for_rows(10, "ivf_flat")) == "IVF_FLAT (nlist 1)"
    assert str(Engine.for_rows(10**10, "IVF_FLAT", {"nlist": 7})) == "IVF_FLAT (nlist 7)"
    with pytest.raises(ClusterError, match=r"^TREE: no index of Milvus .*FLAT, IVF_FLAT"):
        Engine.for_rows(10, "tree")
    flat = Engine("FLAT")
    assert not flat.differs_from(None, {})
    assert flat.differs_from("HNSW", {})
    assert Engine("HNSW", {"M": 16}).differs_from(None, {"M": 32})
    assert Engine("HNSW").search_params(1000, {"ef": 5}) == {"ef": 1000}  # Milvus takes no less
    assert Engine("IVF_FLAT", {"nlist": 1024}).search_params(10, {}) == {"nprobe": 64}
    nested = Engine.from_description({"index_type": "HNSW", "params": '{"M": 8}'})
    assert nested == Engine.from_description({"index_type": "HNSW", "M": "8"}) == Engine("HNSW", {"M": 8})


# --- the same answers


def test_nearest_rows_are_those_of_the_local_ranking(tmp_path: Path, bundle: Bundle) -> None:
    embeddings, queries = unit_rows(1500), unit_rows(40, seed=1)
    index = write_rows(tmp_path / "photos.itl", bundle, embeddings)
    milvus.push(index.path, f"milvus:{tmp_path}/photos.db#photos", index_type="FLAT")
    with milvus.Collection.open(f"milvus:{tmp_path}/photos.db#photos", bundle) as collection:
        assert len(collection) == 1500
        for k in (1, 10, 100):
            rows, scores = rank(queries, embeddings, k)
            found = collection.nearest(queries, k)
            assert [[path for _, _, path, _ in hits] for hits in found] == [
                [index.paths[row] for row in of_query] for of_query in rows.tolist()
            ]
            np.testing.assert_array_equal([[score for _, score, _, _ in hits] for hits in found], scores)
        assert collection.nearest(queries[:0], 5) == []
        assert len(collection.nearest(queries[:1], 2000)[0]) == 1500
        with pytest.raises(QueryError, match=r"^16385 pictures: Milvus gives at most 16384"):
            collection.nearest(queries, 16385)
        with pytest.raises(ValueError, match="expected 1 or more"):
            collection.nearest(queries, 0)


@pytest.mark.parametrize(
    "options",
    [{}, {"explain": True}, {"min_score": 0.7}, {"dedupe": 0.9}, {"dedupe": 0.5, "explain": True, "k": 2}],
)
def test_answers_are_those_of_the_index(
    colours: Index, pushed: str, bundle: Bundle, options: dict[str, Any]
) -> None:
    queries: list[Any] = [
        "red",
        "a bright green wave",
        "quokka",
        Query("red", subtract=["blue"], images=[colours.path.parent / "pictures" / "teal.png"]),
    ]
    options = {"k": 5, **options}
    local = Searcher(colours, **options).answer_many(queries)
    with milvus.Collection.open(pushed, bundle) as collection:
        answers = Searcher(collection, **options).answer_many(queries)
        assert isinstance(collection.snapshot, CollectionView)
    for here, there in zip(local, answers, strict=True):
        if isinstance(here, QueryError):
            assert str(there) == str(here)
            continue
        assert not isinstance(there, Exception)
        assert not isinstance(here, Exception)
        assert there.to_json() == here.to_json()
        assert there.pictures == here.pictures == 8


def test_equal_scores_stand_in_order_of_path_however_many_there_are(tmp_path: Path, bundle: Bundle) -> None:
    rows = unit_rows(3)
    embeddings = np.concatenate([np.repeat(rows[:1], 300, axis=0), rows[1:]])
    names = [b"%04d.jpg" % i for i in np.random.default_rng(0).permutation(302)]
    index = write_rows(tmp_path / "photos.itl", bundle, embeddings, names)
    address = f"milvus:{tmp_path}/photos.db#photos"
    milvus.push(index.path, address, index_type="FLAT")
    expected = sorted(index.paths[:300])[:7]
    with milvus.Collection.open(address, bundle) as collection:
        [hits] = collection.nearest(rows[:1], 7)
        assert [path for _, _, path, _ in hits] == expected
        assert len({score for _, score, _, _ in hits}) == 1
        [found] = Searcher(collection, k=1, dedupe=0.99).answer_many([Query("red").embed(bundle)])
        assert not isinstance(found, Exception)
        [best] = found.results
        assert best.path in {expected[0], *index.paths[300:]}
        assert len(best.duplicates) in (0, 299)


def test_the_commands_answer_alike(colours: Index, pushed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = colours.path.parent / "pictures" / "purple.png"
    for command in (
        ["query", "red wave", "-k", "3", "--format", "json", "--explain"],
        ["query", "red", "-k", "9", "--dedupe", "--min-score", "0.3", "--format", "csv"],
        ["similar", picture, "--add", "green", "--format", "json"],
        ["batch", "-", "-k", "2"],
    ):
        stdin = "red\nquokka\n\nblue wave\n" if command[0] == "batch" else None
        here = output_of(*command, "-d", colours.path, input=stdin)
        assert output_of(*command, "-d", pushed, input=stdin) == here
        monkeypatch.setenv("ITL_INDEX", pushed)
        assert output_of(*command, input=stdin) == here
        monkeypatch.delenv("ITL_INDEX")


def test_from_python(colours: Index, pushed: str, bundle: Bundle) -> None:
    store: itl_infer.Store = open_store(pushed, bundle)
    assert len(store) == 8
    assert Path(Searcher(store, k=1).answer("red").results[0].path).name == "red.png"
    store.follow()
    store.close()
    assert len(open_store(colours.path, bundle)) == 8
    with (
        milvus.Collection.open(pushed) as collection,
        pytest.raises(IndexStoreError, match="without a bundle"),
    ):
        Searcher(collection).answer("red")


@pytest.mark.parametrize("option", ["--relevant", "--truth=red.png"])
def test_what_needs_every_score_is_refused(pushed: str, option: str) -> None:
    assert "which Milvus does not give: use min_score" in error_of("query", "red", "-d", pushed, option)


def test_an_approximate_index_gives_true_scores(tmp_path: Path, bundle: Bundle) -> None:
    embeddings, queries = unit_rows(1000), unit_rows(10, seed=1)
    index = write_rows(tmp_path / "photos.itl", bundle, embeddings)
    position = {path: row for row, path in enumerate(index.paths)}
    address = f"milvus:{tmp_path}/photos.db#photos"
    for index_type in ("IVF_SQ8", "HNSW"):
        milvus.push(index.path, address, index_type=index_type)
        with milvus.Collection.open(f"{address}?nprobe=2&ef=40", bundle) as collection:
            for query, hits in zip(queries, collection.nearest(queries, 10), strict=True):
                scores = [score for _, score, _, _ in hits]
                assert scores == sorted(scores, reverse=True)
                for _, score, path, embedding in hits:
                    np.testing.assert_array_equal(embedding, embeddings[position[path]])
                    assert score == rank(query[None], embedding[None], 1)[1][0, 0]


# --- push


def test_only_what_is_new_or_changed_is_sent(tmp_path: Path, bundle: Bundle) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(300))
    address = f"milvus:{tmp_path}/photos.db#photos"
    first = milvus.push(index.path, address, batch_rows=64)
    assert (first.added, first.updated, first.unchanged, first.removed, first.kept) == (300, 0, 0, 0, 0)
    assert first.seconds > 0
    assert first.pictures_per_second > 0
    assert_holds(address, index)
    before = rows_of(address)
    again = milvus.push(index.path, address, batch_rows=77)
    assert (again.added, again.updated, again.unchanged) == (0, 0, 300)
    assert rows_of(address).keys() == before.keys()

    gone = index.paths[:20]
    drop(index, gone)
    with index.writing() as writer:
        [root] = writer.roots().values()
        for i, embedding in enumerate(unit_rows(30, seed=5)):  # 10 new ones, 20 with another content
            writer.add(
                Picture(root.id, b"%05d.jpg" % (290 + i if i < 20 else 1000 + i), 2, 2, b"%016d" % i),
                embedding,
            )
        writer.commit()
    third = milvus.push(index.path, address)
    assert (third.added, third.updated, third.unchanged, third.removed, third.kept) == (20, 10, 270, 0, 20)
    assert rows_of(address).keys() == {*index.paths, *gone}
    fourth = milvus.push(index.path, address, prune=True)
    assert (fourth.added, fourth.updated, fourth.unchanged, fourth.removed, fourth.kept) == (0, 0, 300, 20, 0)
    assert_holds(address, index)


@settings(max_examples=8)
@given(st.lists(st.dictionaries(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=3))
def test_whatever_an_index_becomes_a_push_follows(bundle: Bundle, states: list[dict[int, int]]) -> None:
    """Each state of the index says which pictures there are, and which content each has."""
    contents = unit_rows(3)
    with tempfile.TemporaryDirectory() as name:
        folder, address = Path(name), f"milvus:{name}/photos.db#photos"
        before: dict[int, int] = {}
        for number, state in enumerate(states):
            state = {**state, 31: 0}  # an empty one is an error
            shutil.rmtree(folder / "photos.itl", ignore_errors=True)
            index = write_rows(
                folder / "photos.itl", bundle, contents[list(state.values())], [b"%d.jpg" % i for i in state]
            )
            report = milvus.push(index.path, address, prune=number % 2 == 0)
            there = state.keys() & before.keys()
            assert report.added == len(state) - len(there)
            assert report.updated == sum(state[i] != before[i] for i in there)
            assert report.unchanged == len(there) - report.updated
            assert report.removed + report.kept == len(before.keys() - state.keys())
            before = state if number % 2 == 0 else {**before, **state}
        milvus.push(index.path, address, prune=True)
        assert_holds(address, index)


def test_several_sources_share_a_collection(tmp_path: Path, bundle: Bundle) -> None:
    one = write_rows(tmp_path / "one" / "photos.itl", bundle, unit_rows(20))
    two = write_rows(tmp_path / "two" / "photos.itl", bundle, unit_rows(30, seed=1))
    address = f"milvus:{tmp_path}/photos.db#photos"
    milvus.push(one.path, address)
    assert milvus.push(two.path, address).kept == 20
    assert rows_of(address).keys() == {*one.paths, *two.paths}


def test_names_that_are_no_text(tmp_path: Path, bundle: Bundle) -> None:
    names = [
        b"\xff\xfe.jpg",
        "žluťoučký kůň.jpg".encode(),
        b"two\nlines\t.jpg",
        "\U0010ffff.jpg".encode(),
        b"'\"\\.jpg",
    ]
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(5), names)
    address = f"milvus:{tmp_path}/photos.db#photos"
    milvus.push(index.path, address)
    assert_holds(address, index)
    found = json.loads(output_of("query", "red", "-d", address, "--format", "json"))
    here = json.loads(output_of("query", "red", "-d", index.path, "--format", "json"))
    assert found == here
    assert milvus.push(index.path, address).unchanged == 5


def test_parquet(tmp_path: Path, bundle: Bundle) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(50))
    output_of("export-index", tmp_path / "photos.parquet", "-d", index.path)
    one, several = (f"milvus:{tmp_path}/photos.db#{name}" for name in ("one", "several"))
    report = milvus.push(tmp_path / "photos.parquet", one, batch_rows=7)
    assert (report.added, report.skipped) == (50, 0)
    assert_holds(one, index)
    assert milvus.push(index.path, one).unchanged == 50

    for number, block in enumerate((slice(0, 20), slice(15, 50))):  # five twice
        paths, embeddings = [*index.paths[block], "s3://bucket/broken.jpg"], index.embeddings[block]
        write_shard(tmp_path / "shards" / f"part-{number:06}.parquet", paths, embeddings, bundle.fingerprint)
    report = milvus.push(tmp_path / "shards", several)
    assert (report.added, report.unchanged, report.skipped) == (50, 0, 7)
    assert_holds(several, index)
    report = milvus.push(tmp_path / "shards", several)
    assert (report.added, report.unchanged, report.skipped) == (0, 50, 7)


def test_push_as_a_command(colours: Index) -> None:
    folder = colours.path.parent
    push = ["push", colours.path, "--to", folder / "photos.db", "--collection", "photos"]
    report = json.loads(output_of(*push, "--format", "json"))
    assert report.keys() == {
        *("added", "updated", "unchanged", "skipped", "removed", "kept", "seconds", "pictures_per_second")
    }
    assert report["added"] == 8
    assert re.fullmatch(r"added 0, unchanged 8 \(\d+\.\d s, \d+\.\d pictures/s\)\n", output_of(*push))
    (folder / "pictures" / "red.png").unlink()
    embed_directory(folder / "pictures", colours)
    result = run(*push)
    assert result.stderr == (
        f"1 pictures of the collection are not in {colours.path}; they are kept (--prune deletes them)\n"
    )
    assert "removed 1" in output_of(*push, "--prune")
    assert_holds(f"milvus:{folder}/photos.db#photos", colours)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_progress_is_for_terminals_only(tmp_path: Path, bundle: Bundle) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(2000))
    command = ["push", str(index.path), "--to", str(tmp_path / "photos.db"), "--collection", "photos"]
    stdout, drawn = run_with_terminal([sys.executable, "-m", "itl_infer", *command, "--batch-size", "50"])
    assert stdout.startswith(b"added 2000, ")
    assert re.search(rb"/2000 pictures  [\d.]+/s  [\d:]+ left", drawn)
    assert drawn.endswith(b"\r")  # wiped away


def test_another_index_type_on_request_only(tmp_path: Path, bundle: Bundle) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(200))
    address = f"milvus:{tmp_path}/photos.db#photos"

    def engine_after(*args: str) -> str:
        output_of("push", index.path, "--to", tmp_path / "photos.db", "--collection", "photos", *args)
        with milvus.Collection.open(address) as collection:
            return str(collection.engine)

    assert engine_after() == "FLAT"
    assert engine_after("--index-type", "hnsw", "--index-param", "M=8") == "HNSW (M 8, efConstruction 200)"
    assert engine_after() == "HNSW (M 8, efConstruction 200)"
    assert engine_after("--index-param", "M=12") == "HNSW (M 12, efConstruction 200)"
    line = error_of(
        "push", index.path, "--to", tmp_path / "photos.db", "--collection", "photos", "--index-type", "SCANN"
    )
    assert line.startswith("Error: SCANN: no index of Milvus Lite for embeddings: give one of FLAT, ")
    assert engine_after() == "HNSW (M 12, efConstruction 200)"
    assert_holds(address, index)


def test_an_index_that_milvus_refuses_leaves_the_one_that_is_there(tmp_path: Path, bundle: Bundle) -> None:
    from itl_infer.milvus.client import Connection
    from itl_infer.milvus.setup import build

    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(50))
    address = f"milvus:{tmp_path}/photos.db#photos"
    milvus.push(index.path, address)
    connection = Connection(Address.parse(address))
    with pytest.raises(ClusterError, match=r"photos\.db: Milvus says: .*SCANN"):
        build(connection, Engine("SCANN"))
    connection.close()
    with milvus.Collection.open(address) as collection:
        assert str(collection.engine) == "FLAT"
        assert len(collection.nearest(unit_rows(1), 10)[0]) == 10


PUSHING = textwrap.dedent(
    """
    import sys
    from itl_infer import milvus
    source, address, batch_rows, seconds = sys.argv[1:]
    milvus.push(
        source, address, batch_rows=int(batch_rows), seconds=float(seconds),
        progress=lambda progress: print(progress.done, flush=True),
    )
    """
)


@contextlib.contextmanager
def pushing(
    source: Path, address: str, batch_rows: int, seconds: float = 30
) -> Iterator[subprocess.Popen[str]]:
    """A process that pushes, and prints how far it is."""
    command = [sys.executable, "-c", PUSHING, str(source), address, str(batch_rows), str(seconds)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("batches", [1, 4, 17])
def test_killed_in_the_middle_nothing_is_lost_and_nothing_twice(
    tmp_path: Path, bundle: Bundle, batches: int
) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(2000))
    address = f"milvus:{tmp_path}/photos.db#photos"
    with pushing(index.path, address, batch_rows=40) as process:
        assert process.stdout
        for _ in range(batches):
            done = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    assert done == 40 * batches
    partial = rows_of(address)
    assert done <= len(partial) < 2000
    position = {path: row for row, path in enumerate(index.paths)}
    for path, embedding in partial.items():
        np.testing.assert_array_equal(embedding, index.embeddings[position[path]])
    report = milvus.push(index.path, address)
    assert (report.added, report.unchanged) == (2000 - len(partial), len(partial))
    assert_holds(address, index)


def test_killed_before_the_collection_has_its_index(colours: Index) -> None:
    from itl_infer.milvus.client import Connection
    from itl_infer.milvus.setup import create_collection
    from itl_infer.milvus.sources import open_source

    address = f"milvus:{colours.path.parent}/photos.db#photos"
    connection = Connection(Address.parse(address), create=True)
    create_collection(connection, open_source(colours.path).origin)
    connection.close()
    assert "has no index yet, as its push was interrupted" in error_of("query", "red", "-d", address)
    assert milvus.push(colours.path, address).added == 8
    assert_holds(address, colours)


# --- check


def test_recall_of_an_exact_index_is_whole(pushed: str, tmp_path: Path) -> None:
    text = output_of("check", "-d", pushed, "-k", "3").splitlines()
    assert text[1].split() == ["pictures", "8"]
    assert text[2].startswith("bundle       tiny (")
    assert text[3].split() == ["index", "FLAT"]
    assert text[4] == (
        "recall@3     1.0000 of the exact ranking, 1.0000 at worst (8 queries: pictures of its own, each for others)"
    )
    (tmp_path / "queries.txt").write_bytes(b"red\nquokka\n\xff\xfe\nblue wave\n")
    result = run("check", "-d", pushed, "--queries", tmp_path / "queries.txt", "--format", "json")
    assert result.stderr.startswith("left out: ")
    assert result.stderr.splitlines()[1:] == ["left out: the line is not UTF-8"]
    found = json.loads(result.stdout)
    assert (found["recall"], found["k"], found["queries"], found["queries_are_pictures"]) == (1, 8, 2, False)


def test_recall_is_what_is_missed(tmp_path: Path, bundle: Bundle) -> None:
    embeddings, queries = unit_rows(2000), unit_rows(25, seed=1)
    index = write_rows(tmp_path / "photos.itl", bundle, embeddings)
    address = f"milvus:{tmp_path}/photos.db#photos?nprobe=3"
    milvus.push(index.path, address, index_type="IVF_FLAT", index_params={"nlist": 32})
    best, _ = rank(queries, embeddings, 10)
    with milvus.Collection.open(address) as collection:
        shares = [
            len({path for _, _, path, _ in hits} & {index.paths[row] for row in rows}) / 10
            for hits, rows in zip(collection.nearest(queries, 10), best.tolist(), strict=True)
        ]
        for against in (None, index.path):
            found = milvus.check_collection(collection, queries=queries, against=against)
            assert found.recall == pytest.approx(np.mean(shares))
            assert found.worst == pytest.approx(min(shares))
            assert found.k == 10
        own = milvus.check_collection(collection, sample=30)
        assert (own.queries, own.are_pictures) == (30, True)
        assert 0.05 < own.recall < 0.95
    with milvus.Collection.open(f"{address.partition('?')[0]}?nprobe=32") as collection:
        assert milvus.check_collection(collection, sample=30).recall == 1


def test_check_says_how_a_collection_differs(tmp_path: Path, bundle: Bundle) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(40))
    address = f"milvus:{tmp_path}/photos.db#photos"
    milvus.push(index.path, address)
    against = ["check", "-d", address, "--against", index.path]
    assert output_of(*against).endswith(", 40 pictures: missing 0, changed 0, only in the collection 0\n")
    drop(index, index.paths[:3])
    with index.writing() as writer:
        [root] = writer.roots().values()
        for i, embedding in enumerate(unit_rows(9, seed=5)):
            writer.add(Picture(root.id, b"%05d.jpg" % (35 + i), 2, 2, b"%016d" % i), embedding)
        writer.commit()
    result = run(*against, "--format", "json")
    assert json.loads(result.stdout)["against"] == {
        **{"source": str(index.path), "pictures": 41, "missing": 4, "changed": 5, "more": 3}
    }
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {address}: not in step with {index.path}: itl-infer push {index.path} --to {tmp_path}/photos.db"
        " --collection photos\n"
    )


# --- the page


def test_the_page_over_a_collection(colours: Index, pushed: str, bundle: Bundle) -> None:
    pytest.importorskip("starlette", reason="needs the extra: pip install 'itl-infer[serve]'")
    from starlette.testclient import TestClient

    from itl_infer.web import HostRule, make_app

    elsewhere = write_rows(colours.path.parent / "elsewhere.itl", bundle, unit_rows(1))
    milvus.push(elsewhere.path, pushed)
    with (
        milvus.Collection.open(pushed, bundle) as collection,
        TestClient(make_app(collection, HostRule("testserver", ())), base_url="http://testserver") as page,
    ):
        assert page.get("/api/status").json()["pictures"] == 9
        results = page.get("/api/query?q=red&k=9&explain=true").json()["results"]
        assert Path(results[0]["path"]).stem == "red"
        assert all(row["shares"] for row in results)
        kinds = {
            row["path"]: [
                page.get(f"/{kind}/{row['id']}").headers["content-type"]
                for kind in ("thumbnails", "pictures")
            ]
            for row in results
        }
        assert kinds.pop(elsewhere.paths[0]) == ["image/svg+xml"] * 2
        assert {kind for found in kinds.values() for kind in found} == {"image/jpeg"}
        again = page.get(f"/api/query?like={results[0]['id']}&k=1").json()["results"]
        assert again[0]["path"] == results[0]["path"]
        number = results[0]["id"].partition("-")[0]
        for name in (f"{number}-0000", "1-0", "9" * 39 + "-0", "9" * 99 + "-0", "-1-0", "x"):
            assert page.get(f"/thumbnails/{name}").status_code == 404
        refused = page.get("/api/query?q=red&relevant=true")
        assert refused.status_code == 400
        assert "which Milvus does not give" in refused.json()["error"]


# --- clusters that are away


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[bytes], str]]]:
    """Starts a Milvus Lite as a server, again and again over the same data; its URI."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> tuple[subprocess.Popen[bytes], str]:
        command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(tmp_path / "server")]
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        running.append(process)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_a_push_survives_a_cluster_that_starts_again_and_says_how_far_it_came(
    tmp_path: Path, bundle: Bundle, cluster: Callable[[], tuple[subprocess.Popen[bytes], str]]
) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(2000))
    server, uri = cluster()
    address = f"milvus:{uri}#photos"
    with pushing(index.path, address, batch_rows=20) as process:
        assert process.stdout
        for _ in range(5):
            process.stdout.readline()
        server.kill()
        server.wait()
        server, _ = cluster()  # a second or two later
        for _ in range(30):
            process.stdout.readline()
        server.kill()
        server.wait()
        server, _ = cluster()
        assert process.wait(60) == 0
        assert process.stderr
        assert process.stderr.read() == ""
    assert_holds(address, index)
    assert json.loads(output_of("query", "red", "-d", address, "--format", "json")) == json.loads(
        output_of("query", "red", "-d", index.path, "--format", "json")
    )

    with pushing(index.path, f"milvus:{uri}#more", batch_rows=20, seconds=1.5) as process:
        assert process.stdout
        for _ in range(5):
            process.stdout.readline()
        server.kill()
        server.wait()
        assert process.wait(30) == 1
        assert process.stderr
        last = process.stderr.read().splitlines()[-1]
        done = [100, *map(int, process.stdout.read().split())][-1]
    assert re.search(
        rf"ClusterError: {uri}: no answer from Milvus: .*; {done} of 2000 pictures are pushed and stay, the same"
        rf" command does the rest: itl-infer push {index.path} --to {uri} --collection more$",
        last,
    )
    cluster()
    report = milvus.push(index.path, f"milvus:{uri}#more")
    assert report.unchanged >= done
    assert_holds(f"milvus:{uri}#more", index)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes are stopped")
def test_a_cluster_that_hangs(
    tmp_path: Path, bundle: Bundle, cluster: Callable[[], tuple[subprocess.Popen[bytes], str]]
) -> None:
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(2000))
    server, uri = cluster()
    with pushing(index.path, f"milvus:{uri}#photos", batch_rows=20, seconds=1.5) as process:
        assert process.stdout
        process.stdout.readline()
        server.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        assert process.wait(20) == 1
        assert time.monotonic() - start < 15
        assert process.stderr
        last = process.stderr.read().splitlines()[-1]
    assert "Milvus gave no answer within 1.5 s" in last or "no answer from Milvus" in last
    assert "of 2000 pictures are pushed and stay" in last
    server.send_signal(signal.SIGCONT)
    milvus.push(index.path, f"milvus:{uri}#photos")
    assert_holds(f"milvus:{uri}#photos", index)


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URI of a server that takes connections and never answers."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


def test_nobody_there(deaf: str, colours: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itl_infer.milvus.client._CONNECT_SECONDS", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    for uri in (closed, deaf):
        for args in (
            ["query", "red", "-d", f"milvus:{uri}#photos"],
            ["push", colours.path, "--to", uri.replace("//", "//ada:secret@"), "--collection", "photos"],
        ):
            start = time.monotonic()
            line = error_of(*args)
            assert time.monotonic() - start < 10
            assert line.startswith(f"Error: {uri}: no answer from Milvus: is it running")
            assert "secret" not in line


# --- bad input


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (
            "milvus:x",
            r"milvus:x: expected milvus:URI#NAME, such as milvus:http://localhost:19530#photos or .*",
        ),
        ("milvus:#x", "milvus:#x: expected milvus:URI#NAME, .*"),
        ("milvus:ftp://x#y", r"ftp://x: neither http://HOST:PORT nor a path that ends in \.db: expected .*"),
        ("milvus:http://h:99999#y", "http://h:99999: port out of range 0-65535: expected .*"),
        ("milvus:a.db#9", "9: no name of a collection: give letters, digits and _, no digit first"),
        ("milvus:a.db#a?ef", "ef: a search parameter is a name and a number, such as ef=128"),
        ("milvus:none.db#a", r"none\.db: no such file: itl-infer push makes it"),
        (
            "milvus:text.db#a",
            r"text\.db: no Milvus Lite \(of version 3, which is a folder\): name another file",
        ),
        (
            "milvus:folder.db#a",
            r"folder\.db: no Milvus Lite \(of version 3, which is a folder\): name another file",
        ),
        (
            "milvus:photos.db#none",
            r"milvus:photos\.db#none: no such collection: itl-infer push INDEX --to photos\.db --collection none",
        ),
    ],
)
@pytest.mark.usefixtures("pushed")
def test_a_collection_that_is_not_there(
    tmp_path: Path, location: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("Dear all")
    Path("folder.db").mkdir()
    Path("folder.db", "letter.txt").write_text("Dear all")
    before = sorted(path.name for path in tmp_path.iterdir())
    for command in (["query", "red"], ["check"]):
        assert re.fullmatch(f"Error: {message}", error_of(*command, "-d", location))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_another_bundle_is_refused(colours: Index, pushed: str, tmp_path: Path) -> None:
    rules = {"side": 16, "resize": "bilinear-antialias", "pixel_scaling": "inception"}
    other = make_tiny_bundle(tmp_path / "other", name="other", image=rules)
    expected = rf"made with bundle 'tiny' \({colours.state.bundle_fingerprint[:12]}\), not with 'other' "
    line = error_of("query", "red", "-d", pushed, "-m", other)
    assert re.search(expected, line)
    index = tmp_path / "other.itl"
    output_of("embed-images", tmp_path / "pictures", "-d", index, "-m", other)
    for command in (
        ["push", index, "--to", tmp_path / "photos.db", "--collection", "photos"],
        ["check", "-d", pushed, "--against", index],
    ):
        assert re.search(expected, error_of(*command))
    assert_holds(pushed, colours)


def test_other_widths_and_foreign_collections_are_refused(
    pushed: str, colours: Index, tmp_path: Path, bundle: Bundle
) -> None:
    shard = tmp_path / "narrow" / "part-000000.parquet"
    write_shard(shard, ["a.jpg"], unit_rows(1, dim=8), bundle.fingerprint)
    to = ["--to", tmp_path / "photos.db", "--collection"]
    line = error_of("push", tmp_path / "narrow", *to, "photos")
    assert line.endswith("#photos: its embeddings have 128 numbers, expected 8: push into another collection")
    from pymilvus import MilvusClient

    with milvus.Collection.open(pushed):  # keeps Milvus Lite open
        client = MilvusClient(str(tmp_path / "photos.db"))
        client.create_collection("foreign", dimension=128)
        client.close()
    for command in (
        ["query", "red", "-d", f"milvus:{tmp_path}/photos.db#foreign"],
        ["push", colours.path, *to, "foreign"],
    ):
        assert "#foreign: not made by itl-infer push" in error_of(*command)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.exists, "{}: no index here: "),
        (Path.mkdir, "{}: no index here: "),
        (
            lambda folder: folder.with_suffix(".parquet").write_text("Dear all"),
            "{}.parquet: cannot be read: ",
        ),
    ],
)
def test_a_source_that_is_none(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    source = tmp_path / "source"
    make(source)
    if source.with_suffix(".parquet").exists():
        source = source.with_suffix(".parquet")
    line = error_of("push", source, "--to", tmp_path / "photos.db", "--collection", "photos")
    assert line.startswith(f"Error: {message.format(tmp_path / 'source')}")
    assert not (tmp_path / "photos.db").exists()


def test_parquet_that_is_not_ours(tmp_path: Path, bundle: Bundle) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows, units = (
        pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.reshape(-1)), 8)
        for values in (np.ones(16, np.float32), unit_rows(2, dim=8))
    )
    ours = {b"itl_infer.bundle": bundle.fingerprint}
    for columns, metadata, message in (
        ({"path": ["a", "b"]}, ours, "no column 'embedding', only path: is it of itl-infer?"),
        ({"path": [1, 2], "embedding": rows}, ours, "the column path is int64, expected string"),
        ({"path": ["a", "b"], "embedding": [[1.0], [2.0]]}, ours, "the column embedding is list<"),
        ({"path": ["a", "b"], "embedding": rows}, {}, "does not say which bundle it was made with"),
        ({"path": ["a", "b"], "embedding": rows}, ours, "holds embeddings that are not of unit length"),
        ({"path": ["a", None], "embedding": units}, ours, "holds a picture without a path"),
        ({"path": [], "embedding": rows[:0]}, ours, "no pictures in it, so nothing was pushed"),
    ):
        table = pyarrow.table(columns)
        if columns["path"] == []:
            table = pyarrow.table(
                [pyarrow.array([], pyarrow.string()), rows[:0]], names=["path", "embedding"]
            )
        parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
        line = error_of("push", tmp_path / "a.parquet", "--to", tmp_path / "a.db", "--collection", "a")
        assert line.startswith(f"Error: {tmp_path / 'a.parquet'}: {message}"), line


def test_commands_that_need_an_index_say_so(pushed: str, tmp_path: Path) -> None:
    for command in (
        ["status"],
        ["prune"],
        ["embed-images", tmp_path / "pictures"],
        ["evaluate", "--captions", "x"],
    ):
        line = error_of(*command, "-d", pushed, exit_code=2)
        assert "A collection of Milvus will not do here" in line
    assert "--repair and --wait are for an index" in error_of("check", "-d", pushed, "--repair", exit_code=2)
    line = error_of("check", "-d", tmp_path / "photos.itl", "--sample", "3", exit_code=2)
    assert "--sample is for a collection" in line
    line = error_of("push", "a", "--to", pushed, "--collection", "b", exit_code=2)
    assert "--to takes the URI alone" in line


def test_milvus_lite_serves_one_process(pushed: str, tmp_path: Path) -> None:
    with milvus.Collection.open(pushed):
        other = process("query", "red", "-d", pushed)
    assert (other.returncode, other.stdout) == (1, "")
    assert other.stderr == (
        f"Error: {tmp_path}/photos.db: in use by another process, and Milvus Lite serves one at a time: wait for it to"
        " end\n"
    )


def test_without_the_extra_there_is_the_line_that_installs_it(
    pushed: str, tmp_path: Path, colours: Index
) -> None:
    blocker = tmp_path / "absent"
    blocker.mkdir()
    for absent in ("pymilvus", "milvus_lite"):
        (blocker / "sitecustomize.py").write_text(f"import sys\nsys.modules[{absent!r}] = None\n")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(blocker), str(ROOT)])}
        for args in (
            ["query", "red", "-d", pushed],
            ["push", str(colours.path), "--to", str(tmp_path / "new.db"), "--collection", "photos"],
        ):
            found = process(*args, env=environment)
            assert (found.returncode, found.stdout) == (1, "")
            assert found.stderr.count("\n") == 1
            assert found.stderr.endswith(f"{absent}: {INSTALL}\n")


def test_a_query_of_an_index_imports_nothing_of_this(colours: Index) -> None:
    check = (
        "import sys\nfrom itl_infer.cli import main\n"
        f"main(['query', 'red', '-d', {str(colours.path)!r}], standalone_mode=False)\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(names & {'pymilvus', 'milvus_lite', 'grpc', 'pandas', 'pyarrow'}, 'itl_infer.milvus' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.splitlines()[-1] == "set() False"


# --- disks


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts something, for root on Linux."""
    mounts: list[Path] = []

    def make(*options: str) -> Path:
        place = tmp_path / "mount"
        place.mkdir(exist_ok=True)
        if (
            sys.platform != "linux"
            or os.geteuid() != 0
            or subprocess.run(["mount", *options, str(place)], capture_output=True).returncode
        ):
            pytest.skip("only root can mount a disk")
        mounts.append(place)
        return place

    yield make
    for place in set(mounts):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.usefixtures("pushed")
def test_a_read_only_folder(colours: Index, mount: Callable[..., Path]) -> None:
    place = mount("--bind", str(colours.path.parent))
    mount("-o", "remount,ro,bind")
    for args in (
        ["query", "red", "-d", f"milvus:{place}/photos.db#photos"],
        ["push", colours.path, "--to", place / "new.db", "--collection", "photos"],
    ):
        assert "cannot be written, and Milvus Lite must even to read" in error_of(*args)


def test_a_full_disk_costs_nothing_that_was_pushed(
    tmp_path: Path, bundle: Bundle, mount: Callable[..., Path]
) -> None:
    disk = mount("-t", "tmpfs", "-o", "size=3m", "tmpfs")
    index = write_rows(tmp_path / "photos.itl", bundle, unit_rows(6000))
    address = f"milvus:{disk}/photos.db#photos"
    push = ["push", index.path, "--to", disk / "photos.db", "--collection", "photos", "--batch-size", "100"]
    found = process(*push)  # another one: what Milvus Lite cannot write, it cannot close
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    [done] = map(
        int, re.findall(r": free some space and run again; (\d+) of 6000 pictures are pushed", found.stderr)
    )
    assert 0 < done < 6000
    subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
    report = milvus.push(index.path, address)
    assert report.unchanged >= done
    assert_holds(address, index)
