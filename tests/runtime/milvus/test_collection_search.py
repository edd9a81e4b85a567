"""A search of a collection gives what one of the index gives, in Python, as commands and on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import itl_infer
from itl_infer import Bundle, Index, IndexStoreError, Query, QueryError, Searcher, open_store, rank

pytest.importorskip("pymilvus", reason="needs the extra: pip install 'itl-infer[milvus]'")
pytest.importorskip("milvus_lite", reason="needs the extra: pip install 'itl-infer[milvus]'")
from itl_infer import milvus
from itl_infer.milvus.collection import CollectionView
from tests.facts_aside import without_facts
from tests.runtime.milvus.helpers import error_of, output_of, unit_rows, write_rows

pytestmark = pytest.mark.cluster


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
        assert json.dumps(there.to_json()) == without_facts(json.dumps(here.to_json()))
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
        here = without_facts(output_of(*command, "-d", colours.path, input=stdin))
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


def test_names_are_read_from_an_index_or_a_file(colours: Index, pushed: str, tmp_path: Path) -> None:
    """A collection keeps none: with them, a query is only another vector."""
    pictures = colours.path.parent / "pictures"
    colours.teach("Blue Rosa", [pictures / "blue.png", pictures / "teal.png"], [pictures / "red.png"])
    colours.export_names(tmp_path / "names.json")
    for command in (["query", "blue rosa red", "-k", "5", "--format", "json", "--explain"], ["batch", "-"]):
        stdin = "blue rosa\nred\n" if command[0] == "batch" else None
        here = without_facts(output_of(*command, "-d", colours.path, input=stdin))
        assert '"taught": ["Blue Rosa"]' in here.replace("\n", "").replace("    ", "").replace("  ", "")
        for names in (colours.path, tmp_path / "names.json"):
            assert output_of(*command, "-d", pushed, "--names", names, input=stdin) == here


def test_the_page_reads_names_for_a_collection(colours: Index, pushed: str, bundle: Bundle) -> None:
    pytest.importorskip("httpx2")
    from starlette.testclient import TestClient

    from itl_infer.web import HostRule, make_app

    colours.teach("Blue Rosa", [colours.path.parent / "pictures" / "blue.png"])
    with milvus.Collection.open(pushed, bundle) as collection:
        rule = HostRule("127.0.0.1")
        plain, named = (
            TestClient(make_app(collection, rule, names=names), base_url="http://localhost:8000")
            for names in (None, colours.names)
        )
        assert plain.get("/api/names").json() == {"names": []}
        assert named.get("/api/names").json() == {"names": ["Blue Rosa"]}
        answer = named.get("/api/query", params={"q": "blue rosa", "k": 1}).json()
        assert (answer["taught"], Path(answer["results"][0]["path"]).stem) == (["Blue Rosa"], "blue")
        kept = named.post("/api/names", json={"name": "Rex", "wanted": [answer["results"][0]["id"]]})
        assert (kept.status_code, kept.json()) == (
            400,
            {"error": "names are read from elsewhere (--names): teach them there"},
        )
