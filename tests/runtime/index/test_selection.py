"""Filters: the same pictures as by looking at each, and the same best of them as among all."""

from __future__ import annotations

import os
import unicodedata
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itl_infer.image import Facts
from itl_infer.index import Index, Picture
from itl_infer.where import Where
from tests.fake_bundle import EMBED_DIM, FakeBundle

FOLDERS = ("", "a", "a/b", "ab", "Cafe\u0301", "Caf\u00e9/x", "z\udcff")
NAMES = (
    "IMG_1.jpg",
    "IMG_12.jpg",
    "img_1.JPG",
    "a*b.png",
    "b\u00e9.jpg",
    "be\u0301.jpg",
    "x.y.jpg",
    "[1].jpg",
    "jpg",
    "\udcfe.jpg",
)
CAMERAS = ("", "Canon EOS 5D", "NIKON D90", "Apple iPhone 12")
GLOBS = (
    "*.jpg",
    "IMG_*",
    "*MG_1*",
    "IMG_1.jpg",
    "?MG_*",
    "*",
    "b\u00e9.*",
    "*.y.*",
    "a*b*",
    "*g*g",
    "[[]1].jpg",
    "*G*.jp*",
    "???_1.*",
    "*[12].jpg",
    "[!I]*",
    "*[\u00e9g]",
    "*?2*",
    "????*",
    "",
)


def unit_rows(n: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, EMBED_DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def facts_of(number: int) -> Facts | None:
    """None, or some that differ in everything that is asked for."""
    if number % 7 == 0:
        return None
    taken = None if number % 5 == 0 else datetime(2018, 12, 30) + timedelta(hours=11 * number)
    sides = ((0, 0), (4, 3), (3, 4), (5, 5))[number % 4]
    return Facts(*sides, taken, CAMERAS[number % len(CAMERAS)], number % 3 == 0, number)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Every name in every folder, some rows gone; two roots, one of which is in the other."""
    folder = tmp_path_factory.mktemp("selection")
    (folder / "root" / "a").mkdir(parents=True)
    index = Index.open(folder / "photos.itl", FakeBundle())
    files = [(name, where) for where in FOLDERS for name in NAMES]
    rows = unit_rows(2 * len(files), 1)
    with index.writing() as writer:
        roots = [writer.add_root(folder / "root"), writer.add_root(folder / "root" / "a" / "inner")]
        for number, row in enumerate(rows):
            name, where = files[number % len(files)]
            path = os.fsencode(f"{where}/{name}" if where else name)
            picture = Picture(roots[number // len(files)].id, path, 1, 1, b"%016d" % number)
            writer.add(picture, row, facts_of(number))
        writer.commit()
        for number in (3, 40, 41):
            writer.set_state(number, 2)  # type: ignore[arg-type]
        writer.commit()
    index.refresh()
    return index


def one_form(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def is_meant(where: Where, path: str, facts: Facts | None, top: Path) -> bool:
    """The definition, a picture at a time."""
    folder, name = os.path.split(one_form(path))
    if where.names and not any(fnmatchcase(name, one_form(glob)) for glob in where.names):
        return False
    if where.folders and not any(
        f"{folder}/".startswith(f"{one_form(os.path.normpath(target)).rstrip('/')}/")
        for under in where.folders
        for target in (under, top / "root" / under, top / "root" / "a" / "inner" / under)
    ):
        return False
    start, end = where.period()
    taken = facts.taken if facts else None
    if (start or end) and (taken is None or (start and taken < start) or (end and taken >= end)):
        return False
    if where.cameras and not (
        facts
        and facts.camera
        and any(all(w in facts.camera.lower() for w in c.lower().split()) for c in where.cameras)
    ):
        return False
    if where.gps is not None and (facts is None or facts.has_gps is not where.gps):
        return False
    if where.orientation:
        sign = {"landscape": 1, "portrait": -1, "square": 0}[where.orientation]
        return facts is not None and facts.width > 0 and np.sign(facts.width - facts.height) == sign
    return True


FILTERS = st.builds(
    Where,
    under=st.one_of(
        st.just([]),
        st.lists(
            st.sampled_from(["a", "a/b", "ab", "Caf\u00e9", "Cafe\u0301/x", "nowhere", "a/../ab"]), max_size=2
        ),
    ),
    name=st.one_of(st.just([]), st.lists(st.sampled_from([glob for glob in GLOBS if glob]), max_size=2)),
    taken=st.sampled_from(
        [None, None, "2019", "2018", "2019-01..2019-01-20", "2018-12-31..", "..2019-01-01T11:00"]
    ),
    newer=st.sampled_from([None, None, "2019-01-03"]),
    older=st.sampled_from([None, None, "2019-01-25T10:00"]),
    camera=st.one_of(
        st.just([]), st.lists(st.sampled_from(["canon", "D90 nikon", "iphone", "leica", "o"]), max_size=2)
    ),
    orientation=st.sampled_from([None, None, "landscape", "portrait", "square"]),
    gps=st.sampled_from([None, None, True, False]),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=FILTERS, k=st.integers(1, 30))
def test_exactly_the_best_of_those_that_are_meant(index: Index, where: Where, k: int) -> None:
    top = index.path.parent
    meant = [is_meant(where, path, facts, top) for path, facts in zip(index.paths, index.facts, strict=True)]
    assert index.snapshot.count(where) == sum(meant)
    query = unit_rows(3, 5)
    everything = index.search_many(query, len(index))
    position = {path: i for i, path in enumerate(index.paths)}
    for found, among_all in zip(index.search_many(query, k, where=where), everything, strict=True):
        expected = [(hit.path, hit.score) for hit in among_all if meant[position[hit.path]]]
        assert [(hit.path, hit.score) for hit in found] == expected[:k]


def test_each_name_by_each_glob(index: Index) -> None:
    for glob in GLOBS:
        if glob:
            where = Where(name=glob)
            meant = [is_meant(where, path, None, index.path) for path in index.paths]
            assert index.snapshot.among(where) is not None
            np.testing.assert_array_equal(index.snapshot.among(where), meant, glob)
    assert index.snapshot.count(Where(name="*.jpg")) == 96


def test_a_folder_by_its_path_from_here_on(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(index.path.parent / "root")
    by_path = {
        hit.path for hit in index.search("red", 1000, where=Where(under=index.path.parent / "root" / "a"))
    }
    assert by_path == {path for path in index.paths if "/root/a/" in path}
    monkeypatch.chdir(index.path.parent / "root" / "a")
    index.refresh()
    assert {hit.path for hit in index.search("red", 1000, where=Where(under="."))} == by_path
    assert index.search("red", where=Where(under="/")) != []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"taken": "July 2019"},
            r"taken is 'July 2019', expected 2019, 2019-07, .* or a range as 2019-07\.\.2019-08",
        ),
        ({"taken": "2019-13"}, "taken is '2019-13'"),
        ({"taken": "2020..2019"}, "the earlier date first"),
        ({"taken": ".."}, "taken is '..'"),
        ({"newer": "2019-02-30"}, "newer is '2019-02-30', expected 2019, 2019-07, 2019-07-03 or"),
        ({"older": "2019..2020"}, "older is"),
        ({"orientation": "flat"}, "orientation is 'flat', expected one of landscape, portrait, square"),
        ({"name": "a/*.jpg"}, "name is 'a/\\*.jpg', expected a glob of file names; folders go with under"),
        ({"camera": " "}, "camera is empty"),
    ],
)
def test_filters_that_mean_nothing(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Where(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        ({"taken": "2019"}, datetime(2019, 1, 1), datetime(2020, 1, 1)),
        ({"taken": 2019}, datetime(2019, 1, 1), datetime(2020, 1, 1)),
        ({"taken": "2019-12"}, datetime(2019, 12, 1), datetime(2020, 1, 1)),
        ({"taken": "2019-07..2019-08"}, datetime(2019, 7, 1), datetime(2019, 9, 1)),
        ({"taken": "2019-07-03T14:05"}, datetime(2019, 7, 3, 14, 5), datetime(2019, 7, 3, 14, 6)),
        ({"taken": "2019.."}, datetime(2019, 1, 1), None),
        ({"taken": "..9999"}, None, None),
        ({"newer": datetime(2019, 7, 3, 1, 2, 3)}, datetime(2019, 7, 3, 1, 2, 3), None),
        ({"older": "2019-07"}, None, datetime(2019, 7, 1)),
        (
            {"taken": "2019", "newer": "2019-03", "older": "2019-04"},
            datetime(2019, 3, 1),
            datetime(2019, 4, 1),
        ),
        ({}, None, None),
    ],
)
def test_periods(given: dict[str, str], start: datetime | None, end: datetime | None) -> None:
    assert Where(**given).period() == (start, end)  # type: ignore[arg-type]
