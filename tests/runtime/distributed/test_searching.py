"""A search of shards on a cluster is the ranking of one machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray", reason="working on a cluster needs the extra: pip install -e .[ray]")
pa = pytest.importorskip("pyarrow", reason="working on a cluster needs the extra: pip install -e .[ray]")
pytest.importorskip("ray.data", reason="working on a cluster needs the extra: pip install -e .[ray]")
import pyarrow.parquet as pq

import itl_infer
from itl_infer import distributed
from itl_infer.distributed import searching
from itl_infer.encoder import products_are_fast
from itl_infer.parquet.files import find_filesystem
from itl_infer.parquet.shards import read_embeddings
from itl_infer.ranking import coded, scan
from itl_infer.store import Origin
from tests.facts_aside import without_facts
from tests.runtime.distributed.helpers import command, error_of, in_one_process, itl
from tests.tiny_bundle import EMBED_DIM

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray warns of what it does itself
]


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


@pytest.mark.parametrize("k", [7, pytest.param(2000, marks=pytest.mark.slow)])
def test_search_is_the_ranking_of_one_machine(
    cluster: str, bundle: itl_infer.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    assert_ranks_as_one_machine(bundle, tmp_path, monkeypatch, k, cluster)


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("k", [1, 7, 2000])
def test_search_by_groups_of_shards_is_the_ranking_of_all(
    bundle: itl_infer.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    assert_ranks_as_one_machine(bundle, tmp_path, monkeypatch, k, None)


@pytest.mark.skipif(not products_are_fast(), reason="codes are not read on this CPU")
@pytest.mark.usefixtures("one_process")
def test_many_queries_are_ranked_by_codes(
    bundle: itl_infer.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the answers of few queries."""
    monkeypatch.setattr(searching, "FEWEST_NUMBERS", 400 * EMBED_DIM)
    for name, value in (("FEWEST_NUMBERS", 0), ("_ROWS_FOR_EACH", 1), ("_FEWEST_COLUMNS", 1)):
        monkeypatch.setattr(coded, name, value)
    monkeypatch.setattr(scan, "_MOST_CANDIDATES", 1)
    by_codes, best_keys = [], coded.best_keys
    monkeypatch.setattr(coded, "best_keys", lambda *args: by_codes.append(len(args[0])) or best_keys(*args))
    write_shards(tmp_path / "out", bundle, random_shards((700, 100)))
    queries = [f"{colour} {thing}" for colour in ("red", "green", "blue", "bright") for thing in ("", "wave")]
    few = distributed.search(queries, tmp_path / "out", k=7, bundle=bundle)
    assert not by_codes
    many = distributed.search(queries * 32, tmp_path / "out", k=7, bundle=bundle)
    assert by_codes == [256]
    for number, answer in enumerate(many):
        assert isinstance(answer, itl_infer.Answer)
        assert answer.results == few[number % 8].results


def assert_ranks_as_one_machine(
    bundle: itl_infer.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int, address: str | None
) -> None:
    monkeypatch.setattr("itl_infer.distributed.searching._GROUP_BYTES", 300_000)  # two or three shards
    shards = random_shards((400, 1, 300, 500))
    write_shards(tmp_path / "out", bundle, shards)
    queries = ["red", "a green wave", "blue", "bright red", "zzz", "green"]
    every = np.concatenate(shards)
    paths = [f"/{number}/{row}.jpg" for number, part in enumerate(shards) for row in range(len(part))]
    good = np.flatnonzero(every.any(axis=1))
    indices, scores = itl_infer.rank(bundle.embed_texts([q for q in queries if q != "zzz"]), every[good], k)
    answers = distributed.search(queries, tmp_path / "out", k=k, bundle=bundle, address=address)
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
    with in_one_process():
        distributed.embed(pictures, tmp_path / "out", bundle=bundle, shard_rows=4)
    assert itl("embed-images", pictures).exit_code == 0
    (tmp_path / "queries.txt").write_bytes(b"red\nzzz\na bright \xff wave\nblue\n\ngreen wave")
    monkeypatch.setattr("itl_infer.cli.cluster.queries_at_once", lambda _: 4)
    asked = ("batch", tmp_path / "queries.txt")
    expected = itl(*asked)
    found = command(
        *asked, "--shards", tmp_path / "out", "--ray", cluster
    )  # in a process of its own, as people do
    assert (found.stdout, found.stderr) == (without_facts(expected.stdout), expected.stderr)
    assert found.returncode == expected.exit_code == 1  # a line is not UTF-8
    options = ("-k", "3", "--min-score", "0.8")
    found = itl("batch", "--ray", *asked[1:], "--shards", tmp_path / "out", *options)
    assert found.stdout == without_facts(itl(*asked, *options).stdout)


UNFIT = [
    ({"fingerprint": "ab" * 32}, "part-000000.parquet: made with bundle abababababab, not with 'tiny'"),
    (
        {"width": 64},
        "the column embedding is fixed_size_list<element: float>[64], expected 128 numbers: is it of this bundle?",
    ),
    ({"column": "vector"}, "no column 'embedding', only path, vector, error: is it of itl-infer?"),
    ({"value": np.nan}, "damaged: embeddings that are not of unit length"),
    ({"text": "no Parquet"}, "part-000000.parquet: cannot be read: Parquet magic bytes not found"),
]


def write_unfit(out: Path, bundle: itl_infer.Bundle, changes: dict[str, Any]) -> None:
    shards = random_shards((20,))
    shards[0][7, 5] = changes.get("value", 0)
    write_shards(out, bundle, shards, **changes)
    if "text" in changes:
        (out / "part-000000.parquet").write_text(changes["text"] * 20)


@pytest.mark.parametrize(("changes", "message"), UNFIT)
def test_shards_that_do_not_fit(
    bundle: itl_infer.Bundle, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_unfit(tmp_path / "out", bundle, changes)
    system, path = find_filesystem(str(tmp_path / "out" / "part-000000.parquet"))
    origin = Origin(bundle.name, bundle.fingerprint, bundle.embed_dim)
    with pytest.raises(itl_infer.ClusterError, match=re.escape(message)):
        read_embeddings(system, path, origin)


@pytest.mark.parametrize(
    ("changes", "message"), [UNFIT[0], *(pytest.param(*unfit, marks=pytest.mark.slow) for unfit in UNFIT[1:])]
)
def test_shards_that_cannot_be_searched(
    cluster: str, bundle: itl_infer.Bundle, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    out = tmp_path / "out"
    write_unfit(out, bundle, changes)
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
    with in_one_process():
        distributed.embed(pictures, tmp_path / "out", bundle=bundle, shard_rows=4)
    (tmp_path / "out" / "part-000002.parquet").unlink()
    error = error_of(itl(*run, input="red\n"))
    assert error.startswith(
        f"{tmp_path / 'out'}: 1 of 4 shards are not there yet: run the same `itl-infer embed-"
    )


@pytest.mark.usefixtures("one_process")
def test_names_are_read_from_a_file(
    bundle: itl_infer.Bundle, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards keep none: with them, a query is only another vector."""
    monkeypatch.setenv("ITL_BUNDLE", str(bundle.path))
    distributed.embed(pictures, tmp_path / "out", bundle=bundle, shard_rows=4)
    assert itl("embed-images", pictures, "-d", tmp_path / "photos.itl").exit_code == 0
    some = sorted(pictures.iterdir())[:3]
    assert itl("teach", "Blue Rosa", *some, "-d", tmp_path / "photos.itl").exit_code == 0
    assert itl("names", "export", tmp_path / "names.json", "-d", tmp_path / "photos.itl").exit_code == 0
    expected = itl("batch", "-", "-d", tmp_path / "photos.itl", input="blue rosa\nred\n")
    asked = ("batch", "-", "--shards", tmp_path / "out", "--names", tmp_path / "names.json")
    found = itl(*asked, input="blue rosa\nred\n")
    assert '"taught": ["Blue Rosa"]' in found.stdout
    assert (found.stdout, found.stderr) == (without_facts(expected.stdout), expected.stderr)
