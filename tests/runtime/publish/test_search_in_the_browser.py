"""The engine answers as `query` does: the same pictures, scores, shares, words, notes and errors."""

from __future__ import annotations

import dataclasses
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from itl_infer import Bundle, Index, QueryError, rank
from itl_infer.publish.index_data import write_vectors
from itl_infer.search import NEAR_DUPLICATE, Query, Searcher
from tests.runtime.publish.helpers import NODE, Node, running_node

QUERIES = [
    "surfer in a wave",
    "Two DOGS playing in the snow",
    "feet on the beach",
    "a hot dog in a kitchen",
    "snow board",
    "grey t-shirt",
    "bonsai in a minaret",  # carried words
    "surfr dog",  # an unknown one
    "a street without cars",
    "no people on the beach, and a dog",
    "2 zebras",
    "café at night",
]
WRONG = [
    "",
    "  ",
    "the of",
    "zyxxyz",
    "surfr snowbord",
    "la voiture rouge",
    "собака",
    "die wiese mit dem hund",
    "?!",
]


def as_the_page_has_it(answer: dict[str, Any], rows: dict[str, int]) -> dict[str, Any]:
    """The JSON of `query`, with rows in place of paths and facts, and what the page always has."""
    for found in answer["results"]:
        for one in (found, *found.get("duplicates", ())):
            one["row"] = rows[one.pop("path")]
        for fact in {*found} - {"rank", "score", "row", "shares", "duplicates"}:
            del found[fact]  # which the page has from elsewhere
    return {"read_as": {}, "notes": [], **answer}


def assert_alike(found: Any, expected: Any) -> None:
    """The same, but for the last bits of numbers, and whether a list is a tuple."""
    if isinstance(expected, float):
        assert found == pytest.approx(expected, abs=2e-5)
    elif isinstance(expected, dict):
        assert {*found} == {*expected}
        for name, value in expected.items():
            assert_alike(found[name], value)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    else:
        assert found == expected


@pytest.fixture(scope="module")
def rows(gallery: Index) -> dict[str, int]:
    return {path: row for row, path in enumerate(gallery.paths)}


@pytest.mark.parametrize("explain", [False, True])
def test_answers_are_those_of_query(node: Node, gallery: Index, rows: dict[str, int], explain: bool) -> None:
    searcher = Searcher(gallery, explain=explain)
    found = node.ask("search", [[text, {"k": 10, "explain": explain}] for text in QUERIES])
    for text, answer in zip(QUERIES, found, strict=True):
        assert_alike(answer, as_the_page_has_it(searcher.answer(text).to_json(), rows))


@pytest.mark.parametrize(
    ("ours", "asked", "settings"),
    [
        ({"relevant": True}, {}, {"relevant": True}),
        ({"dedupe": True}, {}, {"dedupe": NEAR_DUPLICATE}),
        ({"understandNot": True}, {"understand_not": True}, {}),
        ({"subtract": ["snow"]}, {"subtract": ["snow"]}, {}),
    ],
)
def test_options_are_those_of_query(
    node: Node, gallery: Index, rows: dict[str, int], ours: Any, asked: Any, settings: Any
) -> None:
    searcher = dataclasses.replace(Searcher(gallery, k=20, explain=True), **settings)
    for text in ("a street without cars", "a dog on the beach"):
        [found] = node.ask("search", [[text, {"k": 20, "explain": True, **ours}]])
        expected = searcher.answer(Query(text, **asked)).to_json()
        assert_alike(found, as_the_page_has_it(expected, rows))


@pytest.mark.parametrize("text", WRONG)
def test_a_query_that_cannot_be_answered_says_why_as_query_does(
    node: Node, gallery: Index, text: str
) -> None:
    with pytest.raises(QueryError) as error:
        Searcher(gallery).answer(text)
    assert node.ask("search", [[text, {}]]) == [{"error": str(error.value)}]


def test_nothing_that_is_left_says_so(node: Node, gallery: Index) -> None:
    query = Query("a dog", subtract=["dogs"])
    with pytest.raises(QueryError) as error:
        Searcher(gallery).answer(query)
    assert node.ask("search", [["a dog", {"subtract": ["dogs"]}]]) == [{"error": str(error.value)}]


def test_a_mask_leaves_only_what_it_says(node: Node, gallery: Index, bundle: Bundle) -> None:
    """With the ranks that they have among themselves."""
    allowed = [*range(3, len(gallery), 4)]
    mask = [int(row in allowed) for row in range(len(gallery))]
    order, _ = rank(bundle.embed_texts(["a dog on the beach"]), gallery.embeddings[allowed], 10)
    [found] = node.ask("search", [["a dog on the beach", {"k": 10, "mask": mask}]])
    assert [one["row"] for one in found["results"]] == [allowed[place] for place in order[0]]
    assert [one["rank"] for one in found["results"]] == [*range(1, 11)]
    [found] = node.ask("search", [["a dog", {"mask": [0] * len(gallery)}]])
    assert found["results"] == []


def test_pages_follow_each_other_without_a_gap(node: Node, gallery: Index) -> None:
    [whole] = node.ask("search", [["a dog", {"k": 1000}]])
    pages = node.ask("search", [["a dog", {"k": 45, "offset": start}] for start in range(0, 180, 45)])
    assert [one for page in pages for one in page["results"]] == whole["results"]
    assert [one["rank"] for one in whole["results"]] == [*range(1, len(gallery) + 1)]
    scores = [one["score"] for one in whole["results"]]
    assert scores == sorted(scores, reverse=True)


def test_similar_pictures_begin_with_the_picture_itself(node: Node, gallery: Index) -> None:
    order, scores = rank(gallery.embeddings[[7]], gallery.embeddings, 10)
    [found] = node.ask("search", [[None, {"like": 7, "k": 10}]])
    assert [one["row"] for one in found["results"]] == order[0].tolist()
    np.testing.assert_allclose([one["score"] for one in found["results"]], scores[0], atol=2e-5)
    [both] = node.ask("search", [["snow", {"like": 7, "k": 3, "explain": True, "likeName": "seven.jpg"}]])
    assert [share["term"] for share in both["results"][0]["shares"]] == ["snow", "seven.jpg"]


def test_carried_words_are_fetched_when_first_needed(tmp_path: Path, data: Path) -> None:
    if NODE is None:
        pytest.skip("no node on this machine")
    with running_node(tmp_path, data) as node:
        node.ask("search", [["surfer in a wave", {}]])
        assert not {"carried.tsv", "languages.txt"} & {*node.ask("fetched")}
        node.ask("search", [["bonsai", {}]])
        assert "carried.tsv" in node.ask("fetched")


def test_copies_are_folded_under_the_best(tmp_path: Path, data: Path, gallery: Index) -> None:
    """Also where more must be looked at than was asked for, and where pages follow each other."""
    if NODE is None:
        pytest.skip("no node on this machine")
    for name in ("text.json", "text.bin"):
        shutil.copy(data / name, tmp_path / name)
    write_vectors(np.concatenate([gallery.embeddings[:30]] * 5), tmp_path)
    with running_node(tmp_path, tmp_path) as node:
        first, second = node.ask(
            "search", [["a dog", {"k": 4, "offset": start, "dedupe": True}] for start in (0, 4)]
        )
        [plain] = node.ask("search", [["a dog", {"k": 150}]])
    rows = [one["row"] for one in plain["results"]]
    best = list(dict.fromkeys(row % 30 for row in rows))[:8]
    found = [*first["results"], *second["results"]]
    assert [one["row"] for one in found] == best
    assert all(
        [copy["row"] for copy in one["duplicates"]] == [*range(one["row"] + 30, 150, 30)] for one in found[:7]
    )


@pytest.fixture(scope="module")
def many(
    shared: Path, bundle: Bundle, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Node, npt.NDArray[np.float32], list[str]]]:
    """Node over 10,000 pictures as they lie around captions of photographs, and 100 captions to ask."""
    if NODE is None:
        pytest.skip("no node on this machine")
    with tarfile.open(shared / "captioned_photos" / "flickr8k.tar.gz") as archive:
        file = archive.extractfile("./Flickr8k.token.txt")
        assert file is not None
        captions = [line.split("\t")[1] for line in file.read().decode().splitlines()]
    known = [text for text in captions[::8] if bundle.parse_text(text).ids][:5000]
    random = np.random.default_rng(0)
    around = np.repeat(bundle.embed_texts(known), 2, axis=0)
    pictures = around + random.normal(size=around.shape, scale=0.1)
    pictures = (pictures / np.linalg.norm(pictures, axis=1, keepdims=True)).astype(np.float32)
    folder = tmp_path_factory.mktemp("many")
    for name in ("text.json", "text.bin", "carried.tsv", "languages.txt"):
        shutil.copy(data / name, folder / name)
    write_vectors(pictures, folder)
    asked = [text for text in captions[1::300] if not bundle.parse_text(text).unknown_words]
    with running_node(tmp_path_factory.mktemp("node"), folder) as node:
        yield node, pictures, asked[:100]


def test_the_top_ten_are_those_of_python_in_99_of_100_queries(
    many: tuple[Node, npt.NDArray[np.float32], list[str]], bundle: Bundle
) -> None:
    """The others within the error of what is stored; and most of what is stored is never fetched."""
    node, pictures, texts = many
    order, scores = rank(bundle.embed_texts(texts), pictures, 10)
    answers = node.ask("search", [[text, {"k": 60}] for text in texts])
    found = np.array([[one["row"] for one in answer["results"][:10]] for answer in answers])
    told = np.array([[one["score"] for one in answer["results"][:10]] for answer in answers])
    assert (found == order).all(axis=1).mean() >= 0.99
    assert np.abs(told - scores).max() < 3e-5


def test_a_query_fetches_few_of_the_fine_codes(
    many: tuple[Node, npt.NDArray[np.float32], list[str]],
) -> None:
    node, _, texts = many
    before = {*node.ask("fetched")}
    node.ask("search", [[texts[0], {"k": 60}]])
    assert len({*node.ask("fetched")} - before) <= 40


def test_without_fine_codes_answers_are_as_good_as_the_codes(
    tmp_path: Path, data: Path, bundle: Bundle, gallery: Index
) -> None:
    if NODE is None:
        pytest.skip("no node on this machine")
    for path in data.iterdir():
        if not path.name.startswith("fine"):
            shutil.copy(path, tmp_path / path.name)
    with running_node(tmp_path, tmp_path) as node:
        [found] = node.ask("search", [["a dog", {"k": 10}]])
    _, scores = rank(bundle.embed_texts(["a dog"]), gallery.embeddings, 10)
    np.testing.assert_allclose([one["score"] for one in found["results"]], scores[0], atol=0.005)
