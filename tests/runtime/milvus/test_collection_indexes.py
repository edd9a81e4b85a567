"""What index a collection gets, and how much of the truth it finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from itl_infer import Bundle, ClusterError, rank
from itl_infer.index import Picture
from itl_infer.milvus.address import Address
from itl_infer.milvus.engine import Engine

pytest.importorskip("pymilvus", reason="needs the extra: pip install 'itl-infer[milvus]'")
pytest.importorskip("milvus_lite", reason="needs the extra: pip install 'itl-infer[milvus]'")
from itl_infer import milvus
from tests.runtime.milvus.helpers import assert_holds, drop, error_of, output_of, run, unit_rows, write_rows

pytestmark = pytest.mark.cluster


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
