"""Damage is found, said, and repaired, and nothing else is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from itl_infer.errors import IndexStoreError
from itl_infer.index import Index, Picture, schema
from itl_infer.index.check import check_index
from itl_infer.ingest import embed_directory
from tests.fake_bundle import FakeBundle, assert_whole, write_pictures


def test_a_database_that_may_not_be_opened_is_not_called_damaged(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(IndexStoreError, match="unable to open database file: use an index that you may read"):
        check_index(index.path, repair=True)


def test_check_finds_nothing_wrong_with_a_good_index(index: Index) -> None:
    report = check_index(index.path)
    assert (report.ok, report.rows, report.problems) == (True, 12, [])


def test_check_finds_embeddings_that_are_no_unit_vectors(index: Index) -> None:
    with index.writing() as writer:
        for name, length in ((b"000.bmp", 1.01), (b"001.bmp", np.nan), (b"002.bmp", 1.0001)):
            writer.add(Picture(1, name, 102, 0, b"digest"), index.embeddings[0] * np.float32(length))
        writer.commit()
    report = check_index(index.path)
    assert report.problems == [f"row {row} ({row - 12:03}.bmp) is not of unit length" for row in (12, 13)]
    assert report.damaged_rows == [12, 13]


def _spoil(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _spoil_record(folder: Path, sql: str) -> None:
    with sqlite3.connect(folder / schema.DATABASE) as connection:
        connection.execute(sql)
    connection.close()


_DAMAGES = {
    "a vector": (
        lambda f: _spoil(f / "vectors-000001.f32", 3 * 32 + 5, b"\xff"),
        1,
        "row 3 (003.bmp) does not match",
    ),
    "the last vectors": (lambda f: os.truncate(f / "vectors-000001.f32", 10 * 32), 2, "holds 10 of 12 rows"),
    "all vectors": (lambda f: (f / "vectors-000001.f32").unlink(), 12, "holds 0 of 12 rows"),
    "a name": (lambda f: _spoil(f / "paths-000001.nul", 3, b"x"), 0, "1 names are not those on record"),
    "the end of a name": (
        lambda f: _spoil(f / "paths-000001.nul", 9, b"x"),
        0,
        "names are not those on record",
    ),
    "all names": (lambda f: (f / "paths-000001.nul").unlink(), 0, "holds 0 of"),
    "a path on record": (
        lambda f: _spoil_record(f, "UPDATE pictures SET path = CAST('x.bmp' AS BLOB) WHERE row = 5"),
        1,
        "row 5 (x.bmp) does not match",
    ),
    "a type on record": (
        lambda f: _spoil_record(f, "UPDATE pictures SET path = 7 WHERE row = 5"),
        1,
        "row 5 (?) has no proper record",
    ),
    "a root on record": (
        lambda f: _spoil_record(f, "UPDATE pictures SET root = 9 WHERE row = 5"),
        1,
        "row 5 (005.bmp) belongs",
    ),
    "a missing record": (
        lambda f: _spoil_record(f, "DELETE FROM pictures WHERE row = 5"),
        1,
        "11 records for 12",
    ),
}


@pytest.mark.parametrize("damage", _DAMAGES)
def test_check_finds_damage_and_repair_drops_that_and_nothing_else(
    index: Index, photos: Path, damage: str
) -> None:
    spoil, lost, message = _DAMAGES[damage]
    spoil(index.path)
    report = check_index(index.path)
    assert not report.ok
    assert message in "\n".join(report.problems)
    check_index(index.path, repair=True)
    assert check_index(index.path).ok
    repaired = Index.open(index.path, FakeBundle())
    assert_whole(repaired)
    assert len(repaired) == 12 - lost
    report = embed_directory(photos, repaired)
    assert (report.embedded, report.unchanged) == (lost, 12 - lost)


def test_an_index_whose_files_were_cut_short_says_how_to_mend(index: Index) -> None:
    os.truncate(index.path / "vectors-000001.f32", 100)
    with pytest.raises(IndexStoreError, match=r"vectors-000001\.f32: 100 bytes where 384 .*check --repair"):
        Index.open(index.path)
    for name in ("vectors-000001.f32", "paths-000001.nul"):
        with (index.path / name).open("rb") as kept:
            (index.path / name).unlink()
            with pytest.raises(IndexStoreError, match=f"{name}: missing: copy it back .*check --repair"):
                Index.open(index.path)
            (index.path / name).write_bytes(kept.read().ljust(384, b"\0"))


def test_a_damaged_vector_is_not_passed_on(index: Index, photos: Path) -> None:
    _spoil(index.path / "vectors-000001.f32", 3 * 32 + 5, b"\xff")
    shutil.copy(photos / "003.bmp", photos / "copy.bmp")
    with pytest.raises(IndexStoreError, match="row 3 is damaged: itl-infer check --repair"):
        embed_directory(photos, index)


def test_what_can_be_read_of_a_damaged_database_is_salvaged(tmp_path: Path) -> None:
    """Each page of the database is spoiled in turn; a page holds about 50 records."""
    paths = write_pictures(tmp_path / "photos", 200)
    good = Index.open(tmp_path / "good.itl", FakeBundle())
    embed_directory(tmp_path / "photos", good)
    pages = (good.path / schema.DATABASE).stat().st_size // 4096
    lost, beyond_repair = [], 0
    for page in range(pages):
        folder = tmp_path / f"{page}.itl"
        shutil.copytree(good.path, folder)
        _spoil(folder / schema.DATABASE, page * 4096, bytes(64 if page else 16) + b"x" * 64)
        assert not check_index(folder).ok
        try:
            check_index(folder, repair=True)
        except IndexStoreError as error:
            assert "beyond repair" in str(error)  # noqa: PT017 (most pages are not)
            beyond_repair += 1
            continue
        assert check_index(folder).ok
        repaired = Index.open(folder, FakeBundle())
        lost.append(200 - len(repaired))
        assert embed_directory(tmp_path / "photos", repaired).embedded == lost[-1]
        assert_whole(repaired, paths)
    assert beyond_repair <= 3  # the schema, the state, the roots
    *partly, most = sorted(lost)
    assert most == 200  # the one page that leads to all records
    assert max(partly) < 100
    assert 150 < sum(partly) <= 200  # each record once; what only speeds things up is made anew


def test_vectors_without_their_database_are_not_written_over(index: Index, photos: Path) -> None:
    database = (index.path / schema.DATABASE).rename(photos.parent / "database")
    with pytest.raises(
        IndexStoreError, match=r"index\.sqlite is missing: copy it back .*, or move the folder"
    ):
        embed_directory(photos, Index.open(index.path, FakeBundle()))
    database.rename(index.path / schema.DATABASE)
    assert_whole(Index.open(index.path, FakeBundle()), [str(path) for path in photos.iterdir()])


def test_a_database_that_is_no_more_is_beyond_repair(index: Index) -> None:
    (index.path / schema.DATABASE).write_bytes(os.urandom(8192))
    with pytest.raises(IndexStoreError, match="check --repair"):
        Index.open(index.path)
    with pytest.raises(IndexStoreError, match="beyond repair"):
        check_index(index.path, repair=True)


def test_check_waits_for_no_writer_unless_told(index: Index) -> None:
    with index.writing(), pytest.raises(IndexStoreError, match="being written to"):
        check_index(index.path)
