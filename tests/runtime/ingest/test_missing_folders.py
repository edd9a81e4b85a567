"""Folders that are away, or cannot be listed, never empty an index."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from itl_infer.errors import FolderError
from itl_infer.index import Index
from itl_infer.ingest import embed_directory, reading
from itl_infer.ingest.reading import Reader, Reading
from itl_infer.ingest.survey import Item
from itl_infer.walk import Walk
from tests.fake_bundle import LONG_AGO_NS, assert_whole, write_picture, write_pictures
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
    assert counts(report) == {"embedded": 1, "kept": 4}
    assert report.kept == [(str(around / "drive"), 4, "no pictures in there")]
    assert len(index) == 11
    (tmp_path / "unplugged").rename(around / "plugged in elsewhere")
    assert counts(embed_directory(around, index))["unchanged"] == 1
    assert_whole(index)
    assert counts(embed_directory(around, index, prune=True)).get("kept") is None
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
    assert counts(report) == {"unchanged": 6, "failed": 1, "kept": 3}
    assert report.failed == [(str(photos / "deep"), "cannot be listed: Permission denied")]
    assert report.kept == [(str(photos / "deep"), 3, "cannot be listed: Permission denied")]
    assert_whole(index, pictures_in(photos))


def test_a_folder_that_can_be_entered_but_not_listed(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are there by their names: nobody left them out, so they stay searchable."""
    write_pictures(photos / "deep" / "er", 3, seed=50)
    embed_directory(photos, index)
    real_scandir = os.scandir

    def scandir(path: str):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real_scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        assert counts(embed_directory(photos, index)) == {"unchanged": 6, "failed": 1, "kept": 3}
    assert counts(embed_directory(photos, index)) == {"unchanged": 9}


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="not for one who may read everything"
)
def test_files_that_cannot_be_read_today_keep_their_embeddings(index: Index, photos: Path) -> None:
    write_pictures(photos / "deep", 2, seed=50)
    embed_directory(photos, index)
    (photos / "deep").chmod(0o400)  # its names can be listed, and no more
    try:
        assert counts(embed_directory(photos, index)) == {"unchanged": 6, "failed": 2}
        assert len(index) == 8
    finally:
        (photos / "deep").chmod(0o700)


def test_what_cannot_be_read_today_keeps_its_embedding(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed or not, nobody knows: as where a network drive stops answering."""
    (photos / "001.bmp").touch()

    def refuse(location: str):
        raise OSError(5, "Input/output error", location)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "open_picture_file", refuse)
        report = embed_directory(photos, index)
    assert counts(report) == {"unchanged": 5, "failed": 1}
    assert report.failed == [(str(photos / "001.bmp"), "cannot be read: Input/output error")]
    assert len(index) == 6
    assert counts(embed_directory(photos, index)) == {"unchanged": 6}


def test_one_folder_that_is_away_does_not_stop_the_others(index: Index, photos: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "more", 2, seed=50)
    photos.rename(tmp_path / "unplugged")
    typo, empty = tmp_path / "typo", tmp_path / "empty"
    empty.mkdir()
    report = embed_directory([photos, tmp_path / "more", typo, empty], index)
    assert counts(report) == {"embedded": 2, "kept": 6}
    assert report.kept == [
        (str(photos), 6, "no such file or folder"),
        (str(typo), 0, "no such file or folder"),
        (str(empty), 0, "no pictures in there"),
    ]
    photos.mkdir()
    report = embed_directory([tmp_path / "more", photos], index)
    assert report.kept == [(str(photos), 6, "no pictures in there")]
    assert [root.folder for root in index.roots] == [photos, tmp_path / "more"]
    with pytest.raises(FolderError, match=r"typo: no such file .*; .*photos: no pictures in there, but 6 "):
        embed_directory([photos, typo], index)
    assert counts(embed_directory([tmp_path / "more", photos], index, prune=True)) == {
        "unchanged": 2,
        "removed": 6,
    }


# Below a folder: what its owner deleted goes, what is away stays


def test_deleted_files_and_folders_are_dropped(index: Index, photos: Path) -> None:
    for name in ("emptied", "deleted/deep", "partly"):
        write_pictures(photos / name, 2, seed=hash(name) % 1000 + 100)
    embed_directory(photos, index)
    for picture in (photos / "emptied").iterdir():
        picture.unlink()
    shutil.rmtree(photos / "deleted")
    (photos / "partly" / "000.bmp").unlink()
    assert counts(embed_directory(photos, index)) == {"unchanged": 7, "removed": 5}
    assert_whole(index, pictures_in(photos))


@pytest.mark.parametrize("place", ["nas", "mnt/nas"])
def test_an_empty_folder_in_place_of_another_keeps_its_pictures(
    index: Index, photos: Path, tmp_path: Path, place: str
) -> None:
    """As where a drive was mounted: the folder below it is another one."""
    write_pictures(photos / place / "2019", 3, seed=50)
    embed_directory(photos, index)
    (photos / place).rename(tmp_path / "unplugged")
    (photos / place).mkdir()
    report = embed_directory(photos, index)
    assert counts(report) == {"unchanged": 6, "kept": 3}
    [kept] = report.kept
    assert (kept.path, kept.pictures) == (str(photos / place), 3)
    assert "drive is not plugged in" in kept.reason
    (photos / place).rmdir()
    (tmp_path / "unplugged").rename(photos / place)
    assert counts(embed_directory(photos, index)) == {"unchanged": 9}
    (photos / place).rename(tmp_path / "unplugged")
    (photos / place).mkdir()
    assert counts(embed_directory(photos, index, prune=True)) == {"unchanged": 6, "removed": 3}


def test_a_drive_below_a_folder_that_is_gone_keeps_its_pictures(
    index: Index, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was on a file system of its own is away with it, its place too, as where a desktop mounts drives."""
    write_pictures(photos / "usb" / "DCIM", 3, seed=50)
    real_stat = os.stat

    def stat(path: str, **options: object) -> os.stat_result:
        status = real_stat(path, **options)
        if "usb" not in str(path):
            return status
        return os.stat_result([*status[:2], status.st_dev + 1, *status[3:]], {})

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        assert counts(embed_directory(photos, index)) == {"unchanged": 6, "embedded": 3}
    (photos / "usb").rename(tmp_path / "unplugged")
    report = embed_directory(photos, index)
    assert counts(report) == {"unchanged": 6, "kept": 3}
    assert report.kept == [(str(photos / "usb"), 3, "its drive is not there")]
    (tmp_path / "unplugged").rename(tmp_path / "usb")
    assert counts(embed_directory([photos, tmp_path / "usb"], index)) == {"unchanged": 6, "renamed": 3}


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_drive_that_goes_away_while_its_pictures_are_read(
    index: Index, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, comes_back: bool
) -> None:
    write_pictures(photos / "deep", 3, seed=50)
    for i, path in enumerate(photos.glob("*.bmp")):
        write_picture(path, 100 + i, LONG_AGO_NS + 1)
    real_read = Reader.read
    read: list[Item] = []

    def read_and_pull(self: Reader, item: Item) -> Reading:
        read.append(item)
        if len(read) == 3:
            photos.rename(tmp_path / "unplugged")
            if comes_back:
                photos.mkdir()
        return real_read(self, item)

    monkeypatch.setattr(Reader, "read", read_and_pull)
    report = embed_directory(photos, index, workers=1)
    assert counts(report) == {"embedded": 2, "kept": 6}
    assert report.kept == [(str(photos), 6, "went away while it was read")]
    assert len(index) == 6
    monkeypatch.undo()
    photos.rmdir() if comes_back else None
    (tmp_path / "unplugged").rename(photos)
    assert counts(embed_directory(photos, index)) == {"unchanged": 2, "embedded": 7}
    assert_whole(index, pictures_in(photos))


def test_files_that_are_deleted_while_others_are_read_are_dropped(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "deep").mkdir()
    for i, path in enumerate(photos.glob("*.bmp")):
        write_picture(path, 100 + i, LONG_AGO_NS + 1)
    real_read = Reader.read

    def read_and_delete(self: Reader, item: Item) -> Reading:
        (photos / "004.bmp").unlink(missing_ok=True)
        return real_read(self, item)

    monkeypatch.setattr(Reader, "read", read_and_delete)
    assert counts(embed_directory(photos, index, workers=1)) == {"embedded": 5, "removed": 1}
    assert_whole(index, pictures_in(photos))
