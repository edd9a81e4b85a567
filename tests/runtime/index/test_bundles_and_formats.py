"""An index belongs to one bundle, and is of a format."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from itl_infer.errors import FolderError, IndexStoreError
from itl_infer.index import Index, schema
from itl_infer.index.upkeep import prune
from itl_infer.ingest import embed_again, embed_directory
from tests.fake_bundle import FakeBundle, assert_whole, write_picture, write_pictures


def test_another_bundle_is_refused_with_the_way_out(index: Index) -> None:
    with pytest.raises(IndexStoreError, match=r"made with bundle 'fake' .* not with 'other' .*--rebuild"):
        Index.open(index.path, FakeBundle("other"))


def test_rebuild_binds_to_another_bundle(index: Index, photos: Path) -> None:
    (photos / "bad.bmp").write_bytes(b"bad")
    embed_directory(photos, index)
    write_pictures(photos.parent / "others", 3, seed=100)
    embed_directory(photos.parent / "others" / "001.bmp", index)  # a single file, not its neighbours
    write_picture(photos.parent / "more" / "new.bmp", 200)
    rebuilt, report = embed_again(index.path, FakeBundle("other"), [photos.parent / "more"])
    assert rebuilt.state.bundle_name == "other"
    assert (report.embedded, len(report.failed)) == (14, 1)
    others = [photos.parent / "others" / "001.bmp", photos.parent / "more" / "new.bmp"]
    assert_whole(rebuilt, [str(path) for path in [*photos.glob("0*"), *others]])
    with pytest.raises(IndexStoreError, match="made with bundle 'other'"):
        index.refresh()


def test_rebuild_loses_no_folder_that_is_not_there(tmp_path: Path, index: Index, photos: Path) -> None:
    photos.rename(tmp_path / "unplugged")
    with pytest.raises(IndexStoreError, match=r"photos is missing .* nothing was changed: .*--prune"):
        Index.rebuild(index.path, FakeBundle("other"))
    with pytest.raises(FolderError, match="typo: no such file or folder"):
        embed_again(index.path, FakeBundle("other"), [tmp_path / "typo"])
    assert len(Index.open(index.path, FakeBundle())) == 12
    assert Index.rebuild(index.path, FakeBundle("other"), prune=True).roots == []


def test_a_newer_format_is_refused(index: Index, photos: Path) -> None:
    with sqlite3.connect(index.path / schema.DATABASE) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    for use in (
        lambda: Index.open(index.path),
        lambda: embed_directory(photos, index),
        lambda: prune(index.path),
    ):
        with pytest.raises(IndexStoreError, match=r"index format 3, .* reads up to 2: upgrade itl-infer"):
            use()


def test_an_older_format_is_brought_up_to_date(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "FORMAT_VERSION", 4)
    steps = ("ALTER TABLE failures ADD COLUMN two", "ALTER TABLE failures ADD COLUMN three;\nnot SQL at all")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, *steps))
    with pytest.raises(IndexStoreError, match="syntax error"):
        embed_directory(photos, index)
    assert _columns(index, "failures")[-1] == "max_megapixels"  # all the way or not at all
    monkeypatch.setattr(
        schema, "MIGRATIONS", (*schema.MIGRATIONS[:-2], steps[0], "ALTER TABLE failures ADD COLUMN three")
    )
    embed_directory(photos, index)
    assert _columns(index, "failures")[-2:] == ["two", "three"]
    with schema.reading(index.path) as connection:
        assert schema.require_version(connection, index.path) == 4


def _columns(index: Index, table: str) -> list[str]:
    with schema.reading(index.path) as connection:
        return [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
