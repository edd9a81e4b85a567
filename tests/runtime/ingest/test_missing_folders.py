"""Folders that are away, or cannot be listed, never empty an index."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from itl_infer.errors import FolderError
from itl_infer.index import Index
from itl_infer.ingest import embed_directory
from itl_infer.walk import Walk
from tests.fake_bundle import assert_whole, write_pictures
from tests.runtime.ingest.helpers import counts, pictures_in


def test_a_missing_folder_never_empties_the_index(index: Index, photos: Path, tmp_path: Path) -> None:
    photos.rename(tmp_path / "unplugged")
    with pytest.raises(FolderError, match=r"photos: no such file or folder, nothing was removed: .*--prune"):
        embed_directory(photos, index)
    photos.mkdir()  # where a drive is not mounted
    with pytest.raises(FolderError, match=r"no pictures in there, but 6 in the index, nothing was .*--prune"):
        embed_directory(photos, index)
    assert len(Index.open(index.path)) == 6
    photos.rmdir()
    (tmp_path / "unplugged").rename(photos)
    assert counts(embed_directory(photos, index)) == {"unchanged": 6}


@pytest.mark.parametrize("is_there", [True, False])
def test_prune_drops_a_folder_that_is_gone_for_good(index: Index, photos: Path, *, is_there: bool) -> None:
    shutil.rmtree(photos)
    if is_there:
        photos.mkdir()
    assert counts(embed_directory(photos, index, prune=True)) == {"removed": 6}
    assert len(index) == 0


def test_a_missing_folder_beside_another(index: Index, photos: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "more", 2, seed=50)
    photos.rename(tmp_path / "unplugged")
    assert counts(embed_directory(tmp_path / "more", index)) == {"embedded": 2}
    assert len(index) == 8


@pytest.mark.parametrize("what_is_left", ["nothing", "an empty folder", "another folder", "a file"])
def test_a_missing_folder_in_another(index: Index, photos: Path, tmp_path: Path, what_is_left: str) -> None:
    """Remembered by itself, it may be a drive, and is not gone because the folder around it is there."""
    around = tmp_path / "around"
    write_pictures(around, 1, seed=40)
    write_pictures(around / "drive", 4, seed=50)
    embed_directory(around / "drive", index)
    (around / "drive").rename(tmp_path / "unplugged")
    if what_is_left == "a file":
        (around / "drive").touch()
    elif what_is_left != "nothing":
        (around / "drive").mkdir()
    if what_is_left == "another folder":
        (around / "drive" / "not mounted").touch()
    report = embed_directory([around, around], index)
    assert counts(report) == {"embedded": 1, "failed": 1}
    assert report.failed == [
        (
            str(around / "drive"),
            "no pictures in there, but 4 in the index, which are kept: --prune drops them",
        )
    ]
    assert len(index) == 11
    (tmp_path / "unplugged").rename(around / "plugged in elsewhere")
    assert counts(embed_directory(around, index))["unchanged"] == 1
    assert_whole(index) if what_is_left in ("nothing", "an empty folder") else None
    assert counts(embed_directory(around, index, prune=True)).get("failed") is None
    assert_whole(index, pictures_in(photos, around))


def test_a_file_in_the_place_of_a_folder_empties_nothing(index: Index, photos: Path, tmp_path: Path) -> None:
    photos.rename(tmp_path / "unplugged")
    photos.touch()
    with pytest.raises(
        FolderError, match=r"photos: no pictures in there, but 6 in the index, nothing was .*"
    ):
        embed_directory(photos, index)
    assert len(Index.open(index.path)) == 6
    assert counts(embed_directory(photos, index, prune=True)) == {"removed": 6, "failed": 1}


def test_a_folder_that_moved_as_a_whole_is_forgotten(index: Index, photos: Path, tmp_path: Path) -> None:
    photos.rename(tmp_path / "album")
    assert counts(embed_directory(tmp_path / "album", index)) == {"renamed": 6}
    assert [root.folder for root in index.roots] == [tmp_path / "album"]


def test_a_drive_that_is_pulled_out_while_it_is_read(
    index: Index, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_files = Walk.__iter__

    def walk_and_pull(self: Walk):
        files = list(real_files(self))
        photos.rename(tmp_path / "unplugged")
        photos.mkdir()
        return iter(files[:1])

    monkeypatch.setattr(Walk, "__iter__", walk_and_pull)
    with pytest.raises(FolderError, match="went away while it was read: nothing was removed"):
        embed_directory(photos, index)
    assert len(Index.open(index.path)) == 6


def test_a_folder_that_cannot_be_listed_keeps_its_pictures(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(photos / "deep", 3, seed=50)
    embed_directory(photos, index)
    real_scandir, real_stat = os.scandir, os.stat

    def scandir(path: str):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real_scandir(path)

    def stat(path: str, **options: object) -> os.stat_result:
        if "deep/" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return real_stat(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        patch.setattr(os, "stat", stat)
        report = embed_directory(photos, index)
    assert counts(report) == {"unchanged": 6, "failed": 1}
    assert report.failed == [(str(photos / "deep"), "cannot be listed: Permission denied")]
    assert_whole(index, pictures_in(photos))
