"""How an index follows its folders: new, changed, renamed, gone, bad, left out, and back again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itl_infer.errors import FolderError, IndexStoreError
from itl_infer.index import Index, Picture
from itl_infer.index.upkeep import read_status
from itl_infer.ingest import Progress, Report, embed_directory, reading
from itl_infer.ingest.reading import Reader, Reading
from itl_infer.ingest.survey import Item
from itl_infer.walk import Walk
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, assert_whole, write_picture, write_pictures


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six pictures."""
    write_pictures(tmp_path / "photos", 6)
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path: Path, photos: Path) -> Index:
    """An index of them."""
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    assert counts(embed_directory(photos, index)) == {"embedded": 6}
    return index


def counts(report: Report) -> dict[str, int]:
    """What is not zero in a report."""
    skipped = ("seconds", "images_per_second")
    numbers = {name: value for name, value in report.to_json().items() if name not in skipped}
    numbers["failed"] = len(report.failed)
    return {name: number for name, number in numbers.items() if number}


def pictures_in(*folders: Path) -> list[str]:
    return [str(path) for folder in folders for path in folder.rglob("*.bmp")]


# --- in step with the folder


def test_unchanged_pictures_are_not_embedded_again(index: Index, photos: Path) -> None:
    assert counts(embed_directory(photos, index)) == {"unchanged": 6}
    assert index.bundle.embedded == 6


def test_the_report_as_json(index: Index, photos: Path) -> None:
    (photos / "000.bmp").write_bytes(b"garbage")
    (photos / "001.bmp").unlink()
    report = embed_directory(photos, index).to_json()
    assert report.pop("seconds") > 0
    assert report == {
        "embedded": 0,
        "unchanged": 4,
        "renamed": 0,
        "reused": 0,
        "removed": 1,
        "set_aside": 0,
        "known_failures": 0,
        "failed": [
            {"path": str(photos / "000.bmp"), "error": "not a JPEG, PNG, WebP, GIF, TIFF or BMP picture"}
        ],
        "images_per_second": 0.0,
    }
    assert_whole(index, [str(photos / f"00{i}.bmp") for i in range(2, 6)])


def test_new_changed_and_deleted(index: Index, photos: Path) -> None:
    write_picture(photos / "new.bmp", 100)
    write_picture(photos / "002.bmp", 101, LONG_AGO_NS + 1)
    (photos / "003.bmp").unlink()
    assert counts(embed_directory(photos, index)) == {"embedded": 2, "unchanged": 4, "removed": 1}
    assert_whole(index, pictures_in(photos))


def test_same_content_with_another_time_is_unchanged(index: Index, photos: Path) -> None:
    os.utime(photos / "000.bmp", ns=(LONG_AGO_NS, LONG_AGO_NS + 1))
    assert counts(embed_directory(photos, index)) == {"unchanged": 6}
    assert counts(embed_directory(photos, index)) == {"unchanged": 6}
    assert index.bundle.embedded == 6


def test_a_change_within_the_same_tick_of_the_clock_is_seen(index: Index, photos: Path) -> None:
    """The time of a file that was modified just now says nothing: coarse clocks give it twice."""
    now = time.time_ns()
    write_picture(photos / "now.bmp", 200, now)
    embed_directory(photos, index)
    write_picture(photos / "now.bmp", 201, now)
    assert counts(embed_directory(photos, index)) == {"embedded": 1, "unchanged": 6}
    assert_whole(index)


def test_a_renamed_picture_is_not_embedded_again(index: Index, photos: Path) -> None:
    (photos / "000.bmp").rename(photos / "name.bmp")
    (photos / "deep" / "er").mkdir(parents=True)
    (photos / "001.bmp").rename(photos / "deep" / "er" / "001.bmp")
    assert counts(embed_directory(photos, index)) == {"renamed": 2, "unchanged": 4}
    assert_whole(index, pictures_in(photos))
    assert index.bundle.embedded == 6


def test_names_exchanged(index: Index, photos: Path) -> None:
    (photos / "000.bmp").rename(photos / "other")
    (photos / "001.bmp").rename(photos / "000.bmp")
    (photos / "other").rename(photos / "001.bmp")
    os.utime(photos / "000.bmp")
    os.utime(photos / "001.bmp")
    embed_directory(photos, index)
    assert_whole(index, pictures_in(photos))
    assert index.bundle.embedded == 6


def test_a_copy_is_not_embedded_again(index: Index, photos: Path) -> None:
    shutil.copy(photos / "000.bmp", photos / "copy.bmp")
    assert counts(embed_directory(photos, index)) == {"reused": 1, "unchanged": 6}
    assert_whole(index, pictures_in(photos))


def test_a_deleted_picture_that_is_restored_is_not_embedded_again(index: Index, photos: Path) -> None:
    (photos / "000.bmp").rename(photos.parent / "bin")
    assert counts(embed_directory(photos, index)) == {"unchanged": 5, "removed": 1}
    (photos.parent / "bin").rename(photos / "000.bmp")
    assert counts(embed_directory(photos, index)) == {"unchanged": 5, "reused": 1}
    assert_whole(index, pictures_in(photos))


def test_pictures_moved_to_another_mount(index: Index, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    moved = photos.rename(tmp_path / "mnt" / "album")
    assert counts(embed_directory(moved, index)) == {"renamed": 6}
    assert_whole(index, pictures_in(moved))


def test_many_threads_ask_at_once_for_what_is_known(tmp_path: Path) -> None:
    write_pictures(tmp_path / "old", 500)
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    embed_directory(tmp_path / "old", index)
    for turn in range(3):
        (tmp_path / "old").rename(tmp_path / f"new{turn}")
        assert counts(embed_directory(tmp_path / f"new{turn}", index, workers=8)) == {"renamed": 500}
        assert_whole(index, pictures_in(tmp_path / f"new{turn}"))
        (tmp_path / f"new{turn}").rename(tmp_path / "old")
        embed_directory(tmp_path / "old", index, workers=8)


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


# --- what is left out


def test_exclusion_keeps_the_embeddings(index: Index, photos: Path) -> None:
    assert counts(embed_directory(photos, index, exclude=["00[0-2]*"])) == {"unchanged": 3, "set_aside": 3}
    assert_whole(index, [str(photos / f"00{i}.bmp") for i in (3, 4, 5)])
    assert counts(embed_directory(photos, index, exclude=["00[0-2]*"])) == {"unchanged": 3}
    assert counts(embed_directory(photos, index, exclude=["000*"])) == {"unchanged": 3, "reused": 2}
    assert counts(embed_directory(photos, index)) == {"unchanged": 5, "reused": 1}
    assert_whole(index, pictures_in(photos))
    assert index.bundle.embedded == 6


def test_excluded_pictures_that_change_or_go(index: Index, photos: Path) -> None:
    embed_directory(photos, index, exclude=["00[0-2]*"])
    write_picture(photos / "000.bmp", 70, LONG_AGO_NS + 1)
    (photos / "001.bmp").unlink()
    assert counts(embed_directory(photos, index)) == {
        "unchanged": 3,
        "embedded": 1,
        "reused": 1,
        "removed": 1,
    }
    assert_whole(index, pictures_in(photos))


def test_globs_are_of_names_or_of_paths(tmp_path: Path) -> None:
    for name in ("a.bmp", "raw/b.bmp", "deep/raw/c.bmp", "deep/raw.bmp"):
        write_picture(tmp_path / name, 0)

    def found(*globs: str) -> list[str]:
        return [Path(file.path).relative_to(tmp_path).as_posix() for file in Walk(tmp_path, globs)]

    assert found() == ["a.bmp", "deep/raw.bmp", "deep/raw/c.bmp", "raw/b.bmp"]
    assert found("raw") == ["a.bmp", "deep/raw.bmp"]
    assert found("deep/raw") == ["a.bmp", "deep/raw.bmp", "raw/b.bmp"]
    assert found("*.bmp") == []
    assert found("A.BMP") == found()


def test_hidden_files_and_folders_are_left_out_unless_asked_for(index: Index, photos: Path) -> None:
    write_picture(photos / ".hidden.bmp", 50)
    write_picture(photos / ".folder" / "in.bmp", 51)
    assert counts(embed_directory(photos, index)) == {"unchanged": 6}
    assert counts(embed_directory(photos, index, include_hidden=True)) == {"unchanged": 6, "embedded": 2}
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "set_aside": 2}


def test_links_to_folders_lead_out_never_round(tmp_path: Path, photos: Path) -> None:
    write_picture(tmp_path / "outside" / "out.bmp", 50)
    for link, target in {
        "loop": photos,
        "up": photos.parent,
        "a": tmp_path / "outside",
        "b": tmp_path / "outside",
        "self": "self",
    }.items():
        (photos / link).symlink_to(target)
    (photos / "deep").mkdir()
    (photos / "deep" / "back").symlink_to("..")
    names = [Path(file.path).relative_to(photos).as_posix() for file in Walk(photos)]
    assert names == [f"00{i}.bmp" for i in range(6)] + ["a/out.bmp"]


def test_links_to_files_are_pictures_of_their_own_name(index: Index, photos: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "outside.bmp", 50)
    (photos / "link.bmp").symlink_to(tmp_path / "outside.bmp")
    (photos / "nowhere.bmp").symlink_to("nothing")
    report = embed_directory(photos, index)
    assert counts(report) == {"unchanged": 6, "embedded": 1, "failed": 1}
    assert report.failed == [(str(photos / "nowhere.bmp"), "cannot be read: No such file or directory")]
    assert str(photos / "link.bmp") in index.paths
    assert counts(embed_directory(photos, index)) == {"unchanged": 7, "known_failures": 1}


# --- several folders, single files


def test_single_files(tmp_path: Path, photos: Path) -> None:
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    shutil.copy(photos / "000.bmp", photos / "picture")  # named: its suffix does not matter
    assert counts(embed_directory([photos / "001.bmp", photos / "picture"], index)) == {"embedded": 2}
    assert [root.folder for root in index.roots] == [photos]
    assert counts(embed_directory(photos / "002.bmp", index)) == {"embedded": 1}  # the others stay
    (photos / "001.bmp").unlink()
    with pytest.raises(FolderError, match="no such file or folder"):
        embed_directory(photos / "001.bmp", index)
    assert counts(embed_directory(photos / "001.bmp", index, prune=True)) == {"removed": 1}
    assert sorted(index.paths) == [str(photos / "002.bmp"), str(photos / "picture")]


@pytest.mark.parametrize("order", [["", "deep"], ["deep", ""], ["deep/er", "deep", ""], ["", ""]])
def test_folders_in_folders_hold_each_picture_once(tmp_path: Path, photos: Path, order: list[str]) -> None:
    write_pictures(photos / "deep", 3, seed=50)
    write_pictures(photos / "deep" / "er", 2, seed=60)
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    embed_directory([photos / name for name in order], index)
    assert_whole(index, pictures_in(photos))
    for name in order:
        embed_directory(photos / name, index)
    assert_whole(index, pictures_in(photos))
    assert index.bundle.embedded == 11
    (photos / "deep" / "er" / "000.bmp").unlink()
    (photos / "000.bmp").unlink()
    assert counts(embed_directory(photos / "deep" / "er", index)) == {"unchanged": 1, "removed": 1}
    assert counts(embed_directory(photos, index)) == {"unchanged": 9, "removed": 1}
    assert_whole(index, pictures_in(photos))


def test_names_that_begin_alike_are_not_confused(tmp_path: Path, photos: Path) -> None:
    for name in ("a", "a b", "a.b", "a0", "a/b"):
        write_pictures(photos / name, 1, seed=hash(name) % 1000 + 100)
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    embed_directory(photos, index)
    (photos / "a" / "000.bmp").unlink()
    assert counts(embed_directory(photos / "a", index)) == {"unchanged": 1, "removed": 1}
    assert_whole(index, pictures_in(photos))


def test_a_folder_by_another_name_is_the_same_folder(
    index: Index, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(photos)
    assert counts(embed_directory(tmp_path / "link", index)) == {"unchanged": 6}
    monkeypatch.chdir(photos)
    assert counts(embed_directory(".", index)) == {"unchanged": 6}
    assert counts(embed_directory("../photos/", index)) == {"unchanged": 6}
    assert len(index.roots) == 1


def test_nothing_to_embed_is_said_and_makes_no_index(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    index = Index.open(tmp_path / "new.itl", FakeBundle())
    with pytest.raises(FolderError, match=r"empty: no pictures in there \(JPEG.*: name a folder that has"):
        embed_directory(tmp_path / "empty", index)
    with pytest.raises(FolderError, match="typo: no such file or folder"):
        embed_directory(tmp_path / "typo", index)
    assert not index.path.exists()


def test_an_index_opened_to_read_is_not_written(index: Index, photos: Path) -> None:
    with pytest.raises(IndexStoreError, match="opened to read only"):
        embed_directory(photos, Index.open(index.path, FakeBundle(), mode="r"))
    with pytest.raises(IndexStoreError, match="without a bundle"):
        embed_directory(photos, Index.open(index.path))


# --- bad files


def test_bad_files_are_named_once_and_do_not_stop_the_run(index: Index, photos: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(photos / "good.jpg")
    whole = (photos / "good.jpg").read_bytes()
    (photos / "text.jpg").write_text("this is a text")
    (photos / "cut.jpg").write_bytes(whole[:-200])
    (photos / "empty.png").touch()
    os.mkfifo(photos / "pipe.gif")
    (photos / "folder.jpg").mkdir()
    first = embed_directory(photos, index)
    assert counts(first) == {"unchanged": 6, "embedded": 1, "failed": 4}
    assert {Path(path).name: error.split(":")[0] for path, error in first.failed} == {
        "cut.jpg": "truncated or damaged",
        "empty.png": "empty file (0 bytes)",
        "pipe.gif": "not a regular file",
        "text.jpg": "not a JPEG, PNG, WebP, GIF, TIFF or BMP picture",
    }
    for _ in range(2):
        assert counts(embed_directory(photos, index)) == {"unchanged": 7, "known_failures": 4}
    assert counts(embed_directory(photos, index, retry_failed=True)) == {"unchanged": 7, "failed": 4}
    assert len(read_status(index.path).failures) == 4
    (photos / "cut.jpg").write_bytes(whole)
    (photos / "text.jpg").unlink()
    assert counts(embed_directory(photos, index)) == {"unchanged": 7, "reused": 1, "known_failures": 2}
    assert len(read_status(index.path).failures) == 2


def test_a_known_failure_with_a_new_time_is_not_decoded_again(index: Index, photos: Path) -> None:
    (photos / "text.jpg").write_text("this is a text")
    embed_directory(photos, index)
    os.utime(photos / "text.jpg", ns=(LONG_AGO_NS, LONG_AGO_NS))
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "known_failures": 1}
    (photos / "text.jpg").write_text("this is another text")
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "failed": 1}


def test_a_higher_limit_of_megapixels_tries_again(index: Index, photos: Path) -> None:
    Image.new("L", (100, 100)).save(photos / "large.png")
    for limit, expected in [(0.001, "failed"), (0.001, "known_failures"), (0.002, "failed"), (1, "embedded")]:
        report = embed_directory(photos, index, max_megapixels=limit)
        assert counts(report) == {"unchanged": 6, expected: 1}


def test_what_the_system_refuses_is_tried_each_time(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission may be given, or a network come back, without the file changing."""
    write_picture(photos / "new.bmp", 50)
    real_open = Path.open

    def refuse(self: Path, *arguments: object, **options: object):
        if self.name == "new.bmp":
            raise PermissionError(13, "Permission denied")
        return real_open(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        for _ in range(2):
            report = embed_directory(photos, index)
            assert report.failed == [(str(photos / "new.bmp"), "cannot be read: Permission denied")]
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "embedded": 1}
    assert read_status(index.path).failures == ()


def test_an_embedding_that_is_no_unit_vector_is_not_stored(tmp_path: Path, photos: Path) -> None:
    class Broken(FakeBundle):
        def embed_pixels(self, pixel_values: np.ndarray, **options: int) -> np.ndarray:
            embeddings = super().embed_pixels(pixel_values, **options)
            embeddings[1], embeddings[2] = np.nan, 2
            return embeddings

    index = Index.open(tmp_path / "photos.itl", Broken())
    report = embed_directory(photos, index)
    assert counts(report) == {"embedded": 4, "failed": 2}
    assert "no unit vector" in report.failed[0].error


# --- names


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes only there")
def test_names_of_any_bytes(index: Index, photos: Path) -> None:
    names = [
        b"\xff\xfe.bmp",
        b"new\nline.bmp",
        b"tab\t.bmp",
        b' "quoted" .bmp',
        "grün.bmp".encode(),
        b"-n.bmp",
    ]
    names += [b"\xe9t\xe9/in a folder.bmp", b"back\\slash.bmp"]
    for i, name in enumerate(names):
        write_picture(photos / os.fsdecode(name), 50 + i)
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "embedded": len(names)}
    assert_whole(index, pictures_in(photos))
    assert {str(photos / os.fsdecode(name)) for name in names} <= set(index.paths)
    (photos / os.fsdecode(b"\xff\xfe.bmp")).rename(photos / os.fsdecode(b"\xfd.bmp"))
    assert counts(embed_directory(photos, index)) == {"unchanged": 5 + len(names), "renamed": 1}
    assert_whole(index, pictures_in(photos))


# --- large, moving, interrupted


def test_a_hundred_thousand_files_in_one_folder(tmp_path: Path) -> None:
    """Entered by hand, as if embedded: what is tested is the walk, the comparing and the compaction."""
    folder = tmp_path / "many"
    write_picture(tmp_path / "first.bmp", 0)
    write_picture(tmp_path / "second.bmp", 1)
    index = Index.open(tmp_path / "many.itl", FakeBundle())
    folder.mkdir()
    names = [f"{i:06}.bmp" for i in range(100_000)]
    embedding = index.bundle.embed_texts(["red"])[0]
    with index.writing() as writer:
        root = writer.add_root(folder)
        for i, name in enumerate(names):
            os.link(tmp_path / ("first.bmp" if i % 2 else "second.bmp"), folder / name)
            writer.add(Picture(root.id, name.encode(), 102, LONG_AGO_NS, b"digest"), embedding)
        writer.commit()
    (folder / "000007.bmp").rename(folder / "new.bmp")
    assert counts(embed_directory(folder, index)) == {"unchanged": 99_999, "removed": 1, "embedded": 1}
    for name in names[70_000:]:
        (folder / name).unlink()
    assert counts(embed_directory(folder, index)) == {"unchanged": 70_000, "removed": 30_000}
    assert index.state.rows == len(set(index.paths)) == 70_000


def test_a_folder_that_changes_while_it_is_walked(tmp_path: Path) -> None:
    """Whatever moves meanwhile, every row is true, and the next run in peace has everything."""
    folder = tmp_path / "moving"
    write_pictures(folder / "a", 60)
    write_pictures(folder / "still", 20, seed=500)
    index = Index.open(tmp_path / "moving.itl", FakeBundle())
    embed_directory(folder, index)
    stop = threading.Event()

    def move() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            (folder / "ab"[turn % 2 == 0]).rename(folder / "ab"[turn % 2])
            write_picture(tmp_path / "new.bmp", 1000 + turn)  # and then all of it is there at once
            (tmp_path / "new.bmp").rename(folder / f"new{turn}.bmp")
            (folder / f"new{turn - 3}.bmp").unlink(missing_ok=True)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(10):
            report = embed_directory(folder, index)
            assert report.failed == []
            assert len(index.paths) == len(set(index.paths))
            assert {path for path in index.paths if "still" in path} == set(pictures_in(folder / "still"))
    finally:
        stop.set()
        mover.join()
    embed_directory(folder, index)
    assert_whole(index, pictures_in(folder))


@pytest.mark.parametrize("whole_bytes", [2**24, 0])  # a file is read into memory, or twice
def test_files_that_go_or_change_between_the_walk_and_the_reading(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch, whole_bytes: int
) -> None:
    write_picture(photos / "001.bmp", 50, LONG_AGO_NS + 1)
    write_picture(photos / "002.bmp", 51, LONG_AGO_NS + 1)
    write_picture(photos / "new.bmp", 52)

    real_open, real_load = reading.open_picture_file, reading.load_pixels

    def remove_then_open(path: str):
        if path.endswith(("001.bmp", "new.bmp")):
            Path(path).unlink()
        return real_open(path)

    def change_then_load(*arguments: object, **options: object):
        with (photos / "002.bmp").open("ab") as changing:
            changing.write(b"more")
        return real_load(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_WHOLE_BYTES", whole_bytes)
        patch.setattr(reading, "open_picture_file", remove_then_open)
        patch.setattr(reading, "load_pixels", change_then_load)
        report = embed_directory(photos, index)
    assert counts(report) == {"unchanged": 4, "removed": 1, "failed": 1}
    assert report.failed == [
        (str(photos / "002.bmp"), "changed while it was read: run again when it is complete")
    ]
    assert counts(embed_directory(photos, index)) == {"unchanged": 4, "embedded": 1}
    assert_whole(index, pictures_in(photos))


class Interrupting(FakeBundle):
    """Raises in the place of a batch."""

    def __init__(self, batch: int, error: BaseException) -> None:
        super().__init__()
        self.batch, self.error = batch, error

    def embed_pixels(self, pixel_values: np.ndarray, **options: int) -> np.ndarray:
        self.batch -= 1
        if self.batch < 0:
            raise self.error
        return super().embed_pixels(pixel_values, **options)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("graph")])
def test_an_interrupt_keeps_what_was_embedded(tmp_path: Path, error: BaseException) -> None:
    write_pictures(tmp_path / "photos", 30)
    index = Index.open(tmp_path / "photos.itl", Interrupting(3, error))
    before = set(threading.enumerate())
    with pytest.raises(type(error)):
        embed_directory(tmp_path / "photos", index, batch_size=5)
    assert len(index) == len(Index.open(index.path)) == 15
    assert_whole(index)
    assert set(threading.enumerate()) <= before  # no reader is left behind
    report = embed_directory(tmp_path / "photos", Index.open(index.path, FakeBundle()))
    assert counts(report) == {"unchanged": 15, "embedded": 15}


# The standard library, interrupted in the middle of listing a folder, is told off for not closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_at_any_moment_keeps_what_was_embedded(tmp_path: Path) -> None:
    """Ctrl-C comes between any two instructions, those of a commit among them."""
    write_pictures(tmp_path / "photos", 60)
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    undisturbed = embed_directory(tmp_path / "photos", index, batch_size=2)
    kept = []
    for delay in np.linspace(0.0, undisturbed.seconds, 25):
        if len(index) == 60:
            shutil.rmtree(index.path)
        index = Index.open(tmp_path / "photos.itl", FakeBundle())
        before = len(index)
        timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
        try:
            timer.start()
            embed_directory(tmp_path / "photos", index, batch_size=2)
            timer.join()
        except KeyboardInterrupt:
            timer.join()
        index = Index.open(tmp_path / "photos.itl", FakeBundle())
        assert_whole(index)
        assert len(index) >= before
        kept.append(len(index) - before)
    assert max(kept) > 0


@pytest.mark.parametrize("batch_size", [4, 5, 60])
def test_commits_come_in_small_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    import itl_infer.ingest.run as run

    assert (run.COMMIT_ROWS, run.COMMIT_SECONDS) == (512, 5.0)
    monkeypatch.setattr(run, "COMMIT_ROWS", 10)
    write_pictures(tmp_path / "photos", 60)
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    committed: list[int] = []

    def watch(progress: Progress) -> None:
        on_disk = Index.open(index.path)
        committed.append(progress.done - len(on_disk))

    embed_directory(tmp_path / "photos", index, batch_size=batch_size, progress=watch)
    assert max(committed) <= 10


def test_commits_do_not_wait_for_a_slow_file_or_a_full_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import itl_infer.ingest.run as run

    monkeypatch.setattr(run, "COMMIT_SECONDS", 0.1)
    real_read = Reader.read
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    on_disk = []

    def read_slowly(reader: Reader, item: Item) -> Reading:
        if item.location.endswith("009.bmp"):
            time.sleep(0.5)
            on_disk.append(len(Index.open(index.path)))
        return real_read(reader, item)

    monkeypatch.setattr(Reader, "read", read_slowly)
    write_pictures(tmp_path / "photos", 12)
    embed_directory(tmp_path / "photos", index, workers=1)
    assert on_disk == [9]
    assert len(index) == 12


def test_memory_and_reading_ahead_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, embedded, ahead = [], [], []
    real_read = Reader.read

    def read(reader: Reader, item: Item) -> Reading:
        begun.append(item.location)
        ahead.append(len(begun) - len(embedded))
        return real_read(reader, item)

    class Slow(FakeBundle):
        def embed_pixels(self, pixel_values: np.ndarray, **options: int) -> np.ndarray:
            time.sleep(0.005)
            embedded.extend(pixel_values)
            return super().embed_pixels(pixel_values, **options)

    monkeypatch.setattr(Reader, "read", read)
    write_pictures(tmp_path / "photos", 200)
    index = Index.open(tmp_path / "photos.itl", Slow())
    embed_directory(tmp_path / "photos", index, workers=2, batch_size=8)
    assert 8 < max(ahead) <= 3 * 8 + 2 + 2  # a batch, two being read, what the workers hold
    assert index.paths[:] == sorted(index.paths)  # in order, whichever thread was first


@pytest.mark.parametrize("setting", [{"workers": 0}, {"batch_size": 0}, {"batch_size": 513}])
def test_settings_that_cannot_be_are_refused(index: Index, photos: Path, setting: dict[str, int]) -> None:
    [(name, value)] = setting.items()
    with pytest.raises(ValueError, match=f"{name} is {value}, expected 1"):
        embed_directory(photos, index, **setting)


def test_progress_has_a_rate_and_a_time_left(index: Index, photos: Path) -> None:
    write_pictures(photos / "more", 10, seed=50)
    seen: list[Progress] = []
    embed_directory(photos, index, batch_size=4, progress=seen.append)
    assert [(progress.done, progress.total) for progress in seen] == [(4, 10), (8, 10), (10, 10)]
    assert Progress(5, 20, 2.0).rate == 2.5
    assert Progress(5, 20, 2.0).eta_seconds == 6.0
    assert Progress(0, 20, 0.0).eta_seconds is None
