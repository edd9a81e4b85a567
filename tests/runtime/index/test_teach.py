"""Names taught to an index: kept with it, in step with it, and never at its cost."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import itl_infer
from itl_infer.errors import IndexStoreError, TeachError
from itl_infer.index import Index
from itl_infer.index.check import check_index
from itl_infer.ingest import embed_again, embed_directory
from tests.fake_bundle import FakeBundle, write_picture, write_pictures


@pytest.fixture
def many(tmp_path: Path) -> Index:
    """An index of forty pictures."""
    write_pictures(tmp_path / "photos", 40)
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    embed_directory(tmp_path / "photos", index)
    return index


def path_of(index: Index, number: int) -> str:
    return str(index.path.parent / "photos" / f"{number:03}.bmp")


def test_a_name_is_the_direction_that_its_pictures_give(many: Index) -> None:
    report = many.teach("Rex", [path_of(many, 1), path_of(many, 2)], [path_of(many, 3)])
    assert (report.examples, report.against, report.added, report.notes) == (2, 1, 3, [])
    rows = {path: row for row, path in enumerate(many.paths)}
    of = many.embeddings[[rows[path_of(many, number)] for number in (1, 2, 3)]]
    expected = itl_infer.teach(of[:2], many.embeddings, of[2:])
    np.testing.assert_allclose(many.names["rex"].vector, expected, atol=1e-6)
    assert many.search("REX", 1)[0].path in (path_of(many, 1), path_of(many, 2))
    assert [*many.names] == ["Rex"]
    assert "rex" in many.names


def test_a_name_taught_again_knows_both_or_starts_over(many: Index) -> None:
    many.teach("Rex", [path_of(many, 1)])
    again = many.teach("REX", [path_of(many, 1), path_of(many, 2), path_of(many, 2)])
    assert (again.examples, again.added) == (2, 1)
    assert again.repeated == [path_of(many, 2), path_of(many, 1)]
    assert [*many.names] == ["REX"]
    anew = many.teach("Rex", [path_of(many, 4)], replace=True)
    assert (anew.examples, anew.added) == (1, 1)


def test_what_was_said_last_of_a_picture_counts(many: Index) -> None:
    many.teach("Rex", [path_of(many, 1), path_of(many, 2)])
    report = many.teach("Rex", [], [path_of(many, 2)])
    assert (report.examples, report.against) == (1, 1)
    assert "was said to show it" in report.notes[0]
    with pytest.raises(TeachError, match="leave one of the two out"):
        many.teach("Rex", [path_of(many, 5)], [path_of(many, 5)])


def test_pictures_need_be_neither_in_the_index_nor_there(many: Index, tmp_path: Path) -> None:
    write_picture(tmp_path / "elsewhere" / "other.bmp", 77)
    shutil.copy(path_of(many, 1), tmp_path / "elsewhere" / "copy.bmp")
    shutil.move(tmp_path / "photos", tmp_path / "unplugged")
    assert many.teach("Rex", [tmp_path / "elsewhere"]).examples == 2
    assert many.teach("Bello", [path_of(many, 1), "002.bmp", "photos/003.bmp"]).examples == 3
    assert many.teach("All", [tmp_path / "photos"]).examples == 40
    assert many.teach("Again", [tmp_path / "elsewhere" / "copy.bmp", path_of(many, 1)]).examples == 1
    with pytest.raises(TeachError, match="no such file"):
        many.teach("Rex", [tmp_path / "nowhere.bmp"])


def test_pictures_that_cannot_be_read_are_told_and_none_at_all_is_an_error(
    many: Index, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.bmp"
    broken.write_bytes(b"BM no picture")
    report = many.teach("Rex", [path_of(many, 1), broken])
    assert [failed.path for failed in report.failed] == [str(broken)]
    (tmp_path / "empty").mkdir()
    for nothing in ([broken], [tmp_path / "empty"]):
        with pytest.raises(TeachError, match="none of the pictures can be read"):
            many.teach("Bello", nothing)
    with pytest.raises(TeachError, match="no picture that shows it"):
        many.teach("Bello", [], [path_of(many, 1)])
    assert [*many.names] == ["Rex"]


def test_few_pictures_or_all_of_them_give_the_mean_and_say_so(tmp_path: Path, many: Index) -> None:
    assert "like the index as a whole" in many.teach("All", [many.path.parent / "photos"]).notes[0]
    assert np.isfinite(many.names["All"].vector).all()
    write_pictures(tmp_path / "few", 5)
    few = Index.open(tmp_path / "few.itl", FakeBundle())
    embed_directory(tmp_path / "few", few)
    assert "the mean of its examples" in few.teach("Rex", [tmp_path / "few" / "001.bmp"]).notes[0]
    assert few.search("rex", 1)[0].path.endswith("001.bmp")


def test_a_name_is_forgotten_and_its_pictures_stay(many: Index) -> None:
    many.teach("Villa Rosa", [path_of(many, 1)])
    with pytest.raises(TeachError, match="did you mean Villa Rosa"):
        many.forget("Villa Rose")
    many.forget("villa  rosa")
    assert not many.names
    assert len(many) == 40


def test_another_bundle_teaches_again_from_what_is_still_there(many: Index, tmp_path: Path) -> None:
    for name, seed in (("kept.bmp", 70), ("gone.bmp", 71)):
        write_picture(tmp_path / "elsewhere" / name, seed)
    many.teach("Rex", [tmp_path / "elsewhere", path_of(many, 1)])
    many.teach("Bello", [tmp_path / "elsewhere" / "gone.bmp"])
    (tmp_path / "elsewhere" / "gone.bmp").unlink()
    Path(path_of(many, 1)).rename(path_of(many, 99))
    index, report = embed_again(many.path, FakeBundle("another"))
    assert sorted(Path(path).name for path, _ in report.examples_gone) == ["gone.bmp", "gone.bmp"]
    assert len(index.names["Rex"].examples) == 3
    assert len(index.names["Rex"].gone) == 1
    assert index.names["Rex"].vector.shape == (8,)
    with pytest.raises(itl_infer.QueryError, match="are gone"):
        index.search("bello")
    write_picture(tmp_path / "elsewhere" / "gone.bmp", 71)
    assert embed_directory(tmp_path / "photos", index).examples_gone == []
    assert not index.names["Bello"].gone


def test_names_travel_in_a_file(many: Index, tmp_path: Path) -> None:
    many.teach("Rex", [path_of(many, 1), path_of(many, 2)], [path_of(many, 3)])
    many.export_names(tmp_path / "names.json")
    vector = many.names["Rex"].vector
    many.forget("Rex")
    assert many.import_names(tmp_path / "names.json") == 1
    np.testing.assert_array_equal(many.names["Rex"].vector, vector)
    assert [example.path for example in many.names["Rex"].examples] == [path_of(many, n) for n in (1, 2, 3)]
    other = Index.open(tmp_path / "other.itl", FakeBundle("another"))
    embed_directory(tmp_path / "photos", other)
    with pytest.raises(TeachError, match="taught with bundle 'fake'"):
        other.import_names(tmp_path / "names.json")


@pytest.mark.parametrize("table", ["taught", "examples", "moments"])
def test_damage_is_told_and_mended(many: Index, table: str) -> None:
    many.teach("Rex", [path_of(many, 1)])
    column = {"taught": "name", "examples": "embedding", "moments": "mean"}[table]
    with sqlite3.connect(many.path / "index.sqlite") as connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (b"\0" * 32,))
    connection.close()
    index = Index.open(many.path, FakeBundle())
    if table == "examples":
        with pytest.raises(IndexStoreError, match="check --repair"):
            index.search("rex")
    assert len(check_index(many.path).problems) == 1
    check_index(many.path, repair=True)
    assert check_index(many.path).ok
    left = Index.open(many.path, FakeBundle())
    assert len(left) == 40
    if table == "moments":
        assert left.search("rex", 1)


def test_names_survive_a_damaged_database(many: Index) -> None:
    many.teach("Rex", [path_of(many, 1), path_of(many, 2)])
    database = many.path / "index.sqlite"
    with sqlite3.connect(database) as connection:
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'picture_with'")
    connection.close()
    with database.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"x" * 64)
    assert check_index(many.path, repair=True).database_is_damaged
    assert len(Index.open(many.path, FakeBundle()).names["rex"].examples) == 2


def test_moments_are_kept_and_follow_the_rows(many: Index, tmp_path: Path) -> None:
    many.teach("Rex", [path_of(many, 1)])
    before = many.snapshot.moments
    assert before.count == 40
    np.testing.assert_allclose(before.covariance, np.cov(many.embeddings.T, bias=True), atol=1e-7)
    write_pictures(tmp_path / "photos", 10, seed=500)
    for number in range(10):
        write_picture(tmp_path / "photos" / f"new-{number}.bmp", 900 + number)
    embed_directory(tmp_path / "photos", many)
    kept = Index.open(many.path).snapshot.moments
    assert kept.count == 50
    np.testing.assert_allclose(kept.mean, many.embeddings.mean(axis=0), atol=1e-6)
