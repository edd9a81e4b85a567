"""Queries of any length, and of any kind: the right answer, or what is wrong with them, soon."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itl_infer import Index, embed_directory, load_bundle, rank
from itl_infer.errors import QueryError, SheetError
from itl_infer.search import Searcher, searcher
from itl_infer.show.sheet import write_sheet
from tests.tiny_bundle import save_colours


@pytest.fixture
def index(tiny_bundle: Path, tmp_path: Path) -> Index:
    save_colours(tmp_path / "pictures", ["red", "green", "blue"])
    index = Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle, threads=1))
    embed_directory(tmp_path / "pictures", index)
    return index


def _unknown(words: int) -> str:
    return " ".join("x" + "".join(chr(97 + int(digit)) for digit in str(number)) for number in range(words))


def test_many_unknown_words(index: Index) -> None:
    start = time.monotonic()
    with pytest.raises(QueryError, match=r"knows no word of the query: .*, \.\.\.$"):
        Searcher(index).answer(_unknown(6_000))
    answer = Searcher(index, explain=True).answer("red " + _unknown(6_000))
    assert answer.results
    assert len(answer.words) == 6_001
    assert sum(bool(word.did_you_mean) for word in answer.words) <= searcher._SUGGESTED
    assert time.monotonic() - start < 30  # 1, where nothing else runs


def test_words_are_looked_up_as_before_where_they_are_many() -> None:
    bundle = load_bundle()
    few = [bundle.parse_text(word).carried for word in ("minaret", "bonsai", "ibis")]
    assert all(few)
    many = load_bundle().parse_text(f"{_unknown(100)} minaret bonsai ibis").carried
    assert [word for word in many if word.word in ("minaret", "bonsai", "ibis")] == [
        words[0] for words in few
    ]


def test_a_text_of_a_megabyte(index: Index) -> None:
    assert Searcher(index).answer("red " * 2**16).results == Searcher(index).answer("red").results
    with pytest.raises(QueryError):
        Searcher(index).answer("x" * 2**20)


def test_an_explanation_of_too_many_words(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "MOST_EXPLAINED", 2)
    assert Searcher(index, explain=True).answer("red wave").results
    with pytest.raises(QueryError, match="has 3 words, of which at most 2 can be explained"):
        Searcher(index, explain=True).answer("red wave green")


@pytest.mark.parametrize(
    "row", [[1.5], [1.0], [True], ["a"], "ab", [None], [[1]], np.array([1.5]), {1.5: 1.0}, [float("nan")]]
)
def test_ids_that_are_none_are_refused_not_cut(index: Index, row: Any) -> None:
    with pytest.raises(TypeError, match="whole numbers"):
        index.require_bundle().embed_ids([row])


@pytest.mark.parametrize("row", [[-1], [10**6], [10**30], {1: float("nan")}, {1: float("inf")}])
def test_ids_that_the_vocabulary_does_not_have(index: Index, row: Any) -> None:
    with pytest.raises(ValueError, match=r"ids go from 1 to|finite"):
        index.require_bundle().embed_ids([row])


def test_ids_of_numpy_are_ids(index: Index) -> None:
    bundle = index.require_bundle()
    assert np.array_equal(bundle.embed_ids([np.array([1, 2])]), bundle.embed_ids([[1, 2]]))


def test_what_is_no_text(index: Index) -> None:
    for wrong in (5, None, b"red"):
        with pytest.raises(TypeError, match="embed_texts takes texts, not"):
            index.require_bundle().embed_texts(["red", wrong])


def test_numbers_of_pictures_and_threads(index: Index, tiny_bundle: Path) -> None:
    for k in (1.5, "2", None):
        with pytest.raises(ValueError, match="expected a whole number"):
            rank(index.embeddings[:1], index.embeddings, k)
    assert len(index.search("red", 10**30)) == 3
    for threads in (1.5, "2"):
        with pytest.raises(ValueError, match="expected a whole number"):
            load_bundle(tiny_bundle, threads=threads)
    assert load_bundle(tiny_bundle, threads=10**30).embed_texts(["red"]).shape == (1, 128)


def test_a_query_that_is_no_direction(index: Index) -> None:
    with pytest.raises(ValueError, match="NaN"):
        index.search_many(np.full((1, 128), np.nan, np.float32))


def test_no_empty_sheet_is_left_behind(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "old.html").write_text("old")
    monkeypatch.setattr("itl_infer.files.sync", full)
    for name in ("new.html", "old.html"):
        with pytest.raises(SheetError, match="No space left"):
            write_sheet([Searcher(index).answer("red")], tmp_path / name)
    assert sorted(path.name for path in tmp_path.glob("*.html*")) == ["old.html"]
    assert (tmp_path / "old.html").read_text() == "old"
