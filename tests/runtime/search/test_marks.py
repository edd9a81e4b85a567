"""Pictures that a query is unlike come last: on every page, folded or not, and wherever else their place is told."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itl_infer import Index, Query, Searcher, embed_directory, load_bundle
from itl_infer.search import EmbeddedQuery

COUNT = 30


@pytest.fixture
def index(tmp_path: Path, tiny_bundle: Path) -> Index:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (16, 16, 3)) * rng.uniform(0.2, 1, 3)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / f"{number:02}.png")
    index = Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle))
    embed_directory(tmp_path / "photos", index)
    return index


def found(searcher: Searcher, query: str | Query) -> list[str]:
    return [Path(one.path).stem for one in searcher.answer(query).results]


def asked(index: Index, like: list[str], unlike: list[str], text: str | None = "red") -> Query:
    folder = Path(index.paths[0]).parent
    paths = [[folder / f"{one}.png" for one in some] for some in (like, unlike)]
    return Query(text, like=paths[0], unlike=paths[1])


def test_they_come_last_whatever_they_score(index: Index) -> None:
    before = found(Searcher(index, k=COUNT), "red")
    unwanted = [before[0], before[3]]
    after = found(Searcher(index, k=COUNT), asked(index, [before[1]], unwanted))
    assert after[0] == before[1]
    assert set(after[-2:]) == set(unwanted)
    assert sorted(after) == sorted(before)
    for k in (1, 2, COUNT - 2, COUNT - 1):
        assert found(Searcher(index, k=k), asked(index, [before[1]], unwanted)) == after[:k]
    pages = [
        found(Searcher(index, k=7, offset=at), asked(index, [before[1]], unwanted)) for at in range(0, 35, 7)
    ]
    assert [one for page in pages for one in page] == after


def test_without_a_text_and_for_others_of_the_same_batch(index: Index) -> None:
    before = found(Searcher(index, k=COUNT), "red")
    alone = found(Searcher(index, k=COUNT), asked(index, [], before[:1], text=None))
    assert alone[-1] == before[0]
    queries = ["red", asked(index, before[1:2], before[:1]), "green"]
    for k in (3, COUNT):
        together = Searcher(index, k=k).answer_many(queries)
        assert [one.results for one in together] == [
            Searcher(index, k=k).answer(one).results for one in queries
        ]


def test_marks_weigh_as_much_beside_several_texts(index: Index) -> None:
    """Beside "red" and "red" the same as beside "red", though their sum is twice as long."""
    before = found(Searcher(index, k=COUNT), "red")
    once = asked(index, before[4:6], before[:1])
    [one, two] = Searcher(index).embed_many([once, replace(once, add=["red"])])
    assert isinstance(one, EmbeddedQuery)
    assert isinstance(two, EmbeddedQuery)
    np.testing.assert_allclose(one.vector, two.vector, atol=1e-5)


def test_copies_go_with_them_and_places_are_told_so(index: Index, tmp_path: Path) -> None:
    before = found(Searcher(index, k=COUNT), "red")
    for number in range(3):
        shutil.copy(tmp_path / "photos" / f"{before[0]}.png", tmp_path / "photos" / f"copy{number}.png")
    embed_directory(tmp_path / "photos", index)
    query, copies = asked(index, [], before[:1]), {"copy0", "copy1", "copy2", before[0]}
    assert not copies & set(found(Searcher(index, k=COUNT - 1), query))
    everything = found(Searcher(index, k=COUNT + 3), query)
    assert set(everything[-4:]) == copies
    for k in (COUNT - 3, COUNT, COUNT + 2):  # where fewer, as many and more are looked at than there are
        assert found(Searcher(index, k=k), query) == everything[:k]
    assert len(found(Searcher(index, k=10, dedupe=0.99999), query)) == 10
    folded = found(Searcher(index, k=COUNT + 3, dedupe=0.99999), query)
    assert set(everything) - set(folded) < copies
    for place in (0, 5, COUNT):
        told = Searcher(index, truth=f"{everything[place]}.png").answer(query).truth
        assert told is not None
        assert (told.position, told.pictures) == (place + 1, COUNT + 3)
