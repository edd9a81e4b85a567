"""An index follows its folders: what is new, changed, renamed, copied or deleted, and what it costs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from itl_infer.image import describe_formats
from itl_infer.index import Index
from itl_infer.ingest import embed_directory
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, assert_whole, write_picture, write_pictures
from tests.runtime.ingest.helpers import counts, pictures_in


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
        "facts_read": 0,
        "removed": 1,
        "set_aside": 0,
        "known_failures": 0,
        "failed": [{"path": str(photos / "000.bmp"), "error": f"not a {describe_formats()} picture"}],
        "images_per_second": 0.0,
        "incomplete": [],
        "left_out": {},
        "kept": [],
        "system_files": {},
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
