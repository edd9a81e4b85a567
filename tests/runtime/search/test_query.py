"""Queries of several texts and pictures: the sum that is searched for, in Python and as commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from itl_infer import (
    Answer,
    Bundle,
    ImageError,
    Index,
    Query,
    QueryError,
    Searcher,
    embed_directory,
    load_bundle,
)
from itl_infer.cli import main
from tests.tiny_bundle import save_colours


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def index(tmp_path: Path, bundle: Bundle) -> Index:
    save_colours(tmp_path / "pictures", ["red", "green", "blue", "white", "purple", "yellow"])
    index = Index.open(tmp_path / "photos.itl", bundle)
    embed_directory(tmp_path / "pictures", index)
    return index


@pytest.fixture
def run(index: Index, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))
    monkeypatch.setenv("ITL_INDEX", str(index.path))
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(main, [str(arg) for arg in args])


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_the_sum_of_its_parts(bundle: Bundle, tmp_path: Path) -> None:
    save_colours(tmp_path, ["purple"])
    red, green, blue = bundle.embed_texts(["red", "green", "blue"])
    [purple] = bundle.embed_images([tmp_path / "purple.png"])
    for query, expected in (
        (Query("red"), red),
        (Query("red", add=["green"]), red + green),
        (Query("red", add=["green"], subtract=["blue"]), red + green - blue),
        (Query(weighted=[(0.5, "red"), (-2.0, "blue")]), 0.5 * red - 2 * blue),
        (Query(images=[tmp_path / "purple.png"]), purple),
        (Query("red", images=[tmp_path / "purple.png"], image_weight=-0.25), red - 0.25 * purple),
        (Query(images=[Image.new("RGB", (9, 9), "purple")], add=["red"]), purple + red),
        (Query(subtract=["red"]), -red),
    ):
        vector = query.embed(bundle).vector
        np.testing.assert_allclose(vector, unit(expected), atol=1e-6)
        assert vector.dtype == np.float32


def test_a_text_alone_is_what_it_always_was(index: Index) -> None:
    found = index.search("red wave", k=3)
    answer = Searcher(index, k=3).answer("red wave")
    assert [(one.rank, one.score, one.path) for one in answer.results] == [
        (one.rank, one.score, one.path) for one in found
    ]


def test_scores_stay_cosines(index: Index) -> None:
    query = Query("red", weighted=[(5.0, "blue")], subtract=["green"])
    answer = Searcher(index, k=6).answer(query)
    vector = query.embed(index.require_bundle()).vector
    for found in answer.results:
        row = index.paths[:].index(found.path)
        assert found.score == pytest.approx(float(vector @ index.embeddings[row]), abs=1e-6)


def test_queries_without_an_answer(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear all")
    for query, error, message in (
        (Query(), QueryError, "the query is empty"),
        (Query("red", add=["the"]), QueryError, "too common to search for: the"),
        (Query("red", subtract=["quokka"]), QueryError, "knows no word of the query: quokka"),
        (Query("red", subtract=["red"]), QueryError, r"nothing is left of the query.*\(red - red\)"),
        (Query("red", weighted=[(0.0, "blue")]), QueryError, "a weight of the query is 0"),
        (Query("red", weighted=[(float("nan"), "blue")]), QueryError, "a weight of the query is nan"),
        (Query(images=[tmp_path / "letter.jpg"]), ImageError, "letter.jpg: not a JPEG"),
        (Query(images=[tmp_path / "none.jpg"]), ImageError, "none.jpg: cannot be read: No such file"),
    ):
        with pytest.raises(error, match=message):
            query.embed(bundle)


def test_a_bad_query_among_others(index: Index) -> None:
    answers = Searcher(index, k=2).answer_many(["red", "quokka", Query(images=["none.jpg"]), "blue"])
    assert [type(answer).__name__ for answer in answers] == ["Answer", "QueryError", "ImageError", "Answer"]
    blue = answers[3]
    assert isinstance(blue, Answer)
    assert blue.to_json() == Searcher(index, k=2).answer("blue").to_json()
    assert Searcher(index).answer_many([]) == []


def test_in_words() -> None:
    query = Query(
        "dog", ["/a/b/c.jpg"], ["snow"], ["grass"], [(0.5, "night"), (-2.0, "day")], image_weight=0.25
    )
    assert str(query) == "dog + snow - grass + 0.5 night - 2 day + 0.25 c.jpg"
    assert str(Query("dog")) == "dog"
    assert str(Query(images=[Image.new("RGB", (1, 1))])) == "picture 1"


def best(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return Path(result.stdout.splitlines()[0]).stem


def test_the_commands(run) -> None:  # type: ignore[no-untyped-def]
    paths = ["--format", "paths", "-k", "1"]
    assert best(run("query", "red", "-a", "green", *paths)) == "yellow"
    assert best(run("query", "bright", "-s", "green", *paths)) == "purple"
    assert best(run("query", "red", "-w", "-0.9", "red", "-w", "0.5", "blue", *paths)) == "blue"
    assert best(run("query", "-i", "pictures/red.png", "-i", "pictures/blue.png", *paths)) == "purple"
    assert best(run("similar", "pictures/white.png", *paths)) == "white"
    assert best(run("similar", "pictures/white.png", "-s", "green", *paths)) == "purple"
    assert best(run("query", "red", "-i", "pictures/blue.png", "--image-weight", "0.1", *paths)) == "red"
    assert best(run("query", "--add", "red", *paths)) == "red"


def test_json_says_what_was_asked(run) -> None:  # type: ignore[no-untyped-def]
    options = ["-a", "blue", "-s", "the green quokka", "-w", "0.5", "wave", "-i", "pictures/red.png"]
    answer = json.loads(run("query", "a red", *options, "--format", "json").stdout)
    del answer["results"]
    assert answer == {
        "query": "a red",
        "images": ["pictures/red.png"],
        "add": ["blue"],
        "subtract": ["the green quokka"],
        "weighted": [{"weight": 0.5, "text": "wave"}],
        "ignored_words": ["a", "the"],
        "unknown_words": ["quokka"],
    }
    answer = json.loads(run("similar", "pictures/red.png", "--format", "json", "--image-weight", "2").stdout)
    assert (answer["query"], answer["images"], answer["image_weight"]) == (None, ["pictures/red.png"], 2)


def test_a_path_is_never_guessed(run) -> None:  # type: ignore[no-untyped-def]
    result = run("query", "pictures/red.png")
    assert "knows no word" in result.stderr
    assert "none.png: cannot be read: No such file" in run("similar", "none.png").stderr
    assert "Missing argument 'TEXT'" in run("query").stderr
    assert "Missing argument 'IMAGE'" in run("similar").stderr


def test_sheets_and_the_truth(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = run("query", "red", "--sheet", "a.html", "--truth", "white.png", "-k", "1", "--format", "json")
    assert json.loads(result.stdout)["truth"] == {
        "position": 4,
        "pictures": 6,
        "score": pytest.approx(0.577, abs=1e-3),
        "path": str(tmp_path / "pictures" / "white.png"),
    }
    white = tmp_path / "pictures" / "white.png"
    assert result.stderr == f"{white}: position 4 of 6, score 0.58\nSheet: a.html\n"
    assert (tmp_path / "a.html").read_bytes().startswith(b"<!doctype html>")
    assert len(run("query", "red", "--sheet", "b.png").stdout.splitlines()) == 7
    with Image.open("b.png") as sheet:
        assert sheet.format == "PNG"
    (tmp_path / "queries.txt").write_text("red\nquokka\nblue wave\n")
    result = run("batch", "queries.txt", "--sheet", "c.html")
    assert len(result.stdout.splitlines()) == 3
    assert (tmp_path / "c.html").read_text(encoding="utf-8").count("<section") == 2
    assert "a sheet is a .png, .jpg or .html file" in run("query", "red", "--sheet", "a.gif").stderr
    assert "room for one query, not for 2" in run("batch", "queries.txt", "--sheet", "a.png").stderr
