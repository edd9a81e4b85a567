"""Which files of which folders an index holds: left out, hidden, linked, single, and folders in folders."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest

from itl_infer.errors import FolderError, IndexStoreError
from itl_infer.index import Index
from itl_infer.index.upkeep import read_status
from itl_infer.ingest import embed_again, embed_directory
from itl_infer.walk import Walk
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, assert_whole, write_picture, write_pictures
from tests.runtime.ingest.helpers import counts, pictures_in


def test_exclusion_keeps_the_embeddings(index: Index, photos: Path) -> None:
    assert counts(embed_directory(photos, index, exclude=["00[0-2]*"])) == {"unchanged": 3, "set_aside": 3}
    assert_whole(index, [str(photos / f"00{i}.bmp") for i in (3, 4, 5)])
    assert counts(embed_directory(photos, index, exclude=["00[0-2]*"])) == {"unchanged": 3}
    assert counts(embed_directory(photos, index, exclude=["000*"], no_exclude=True)) == {
        "unchanged": 3,
        "reused": 2,
    }
    assert counts(embed_directory(photos, index, no_exclude=True)) == {"unchanged": 5, "reused": 1}
    assert_whole(index, pictures_in(photos))
    assert index.bundle.embedded == 6


def test_excluded_pictures_that_change_or_go(index: Index, photos: Path) -> None:
    embed_directory(photos, index, exclude=["00[0-2]*"])
    write_picture(photos / "000.bmp", 70, LONG_AGO_NS + 1)
    (photos / "001.bmp").unlink()
    assert counts(embed_directory(photos, index, no_exclude=True)) == {
        "unchanged": 3,
        "embedded": 1,
        "reused": 1,
        "removed": 1,
    }
    assert_whole(index, pictures_in(photos))


def test_exclusions_are_remembered_with_their_folder(index: Index, photos: Path, tmp_path: Path) -> None:
    write_pictures(photos / "deep" / "raw", 2, seed=50)
    write_pictures(tmp_path / "more" / "raw", 2, seed=60)
    embed_directory(photos, index, exclude=["deep/raw", "005*"])
    folder = str(photos)
    assert read_status(index.path).exclusions == ((folder, "005*"), (folder, "deep/raw"))
    assert counts(embed_directory(tmp_path / "more", index)) == {"embedded": 2}  # another folder
    assert counts(embed_directory(tmp_path, index)) == {"unchanged": 7}  # in a larger one
    with pytest.raises(FolderError, match="no pictures in there"):  # and in a smaller one
        embed_directory(photos / "deep", Index.open(index.path, FakeBundle()), exclude=["x*"])
    assert counts(embed_directory(photos, index, no_exclude=["deep/raw"])) == {
        "unchanged": 5,
        "embedded": 2,
    }
    assert read_status(index.path).exclusions == ((folder, "005*"),)
    with pytest.raises(IndexStoreError, match=r"does not exclude 006\* there, but 005\*"):
        embed_directory(photos, index, no_exclude=["006*"])
    rebuilt = embed_again(index.path, FakeBundle("other"))[1]
    assert counts(rebuilt) == {"embedded": 9}
    assert read_status(index.path).exclusions == ((folder, "005*"),)


def test_names_are_compared_in_one_form(index: Index, photos: Path) -> None:
    """Systems write an accent as one character, or as a letter and a mark."""
    composed, taken_apart = (unicodedata.normalize(form, "Zürich é.bmp") for form in ("NFC", "NFD"))
    write_picture(photos / taken_apart, 50)
    write_picture(photos / composed.upper(), 51)
    assert counts(embed_directory(photos, index, exclude=[composed])) == {"unchanged": 6, "embedded": 1}
    assert (
        counts(embed_directory(photos, index, no_exclude=[taken_apart]))["embedded"] == 1
        or sys.platform == "darwin"
    )


def test_a_path_may_be_typed_in_another_form(index: Index, photos: Path) -> None:
    composed, taken_apart = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))
    write_pictures(photos / taken_apart / "é", 2, seed=50)
    assert counts(embed_directory(photos / composed / "é", index)) == {"embedded": 2}
    assert counts(embed_directory(photos / composed / "é" / "001.bmp", index)) == {"unchanged": 1}
    assert [root.folder for root in index.roots] == [photos]
    with pytest.raises(FolderError, match="Genève: no such file or folder"):
        embed_directory(photos / "Genève", index)


def test_a_folder_from_another_system_is_not_embedded_twice(index: Index, photos: Path) -> None:
    composed, taken_apart = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))
    write_pictures(photos / taken_apart, 3, seed=50)
    embed_directory(photos, index)
    (photos / taken_apart).rename(photos / composed)
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "renamed": 3}
    shutil.copytree(photos / composed, photos / f"copy of {taken_apart}")
    assert counts(embed_directory(photos, index)) == {"unchanged": 9, "reused": 3}
    assert index.bundle.embedded == 9


SYSTEM_FOLDERS = [
    "@eaDir",
    "#recycle",
    "$Recycle.Bin",
    "System Volume Information",
    "lost+found",
    ".thumbnails",
]
SYSTEM_FOLDERS += [".Trash-1000", ".Trashes", "Catalog Previews.lrdata", ".@__thumb"]


def test_what_systems_put_there_is_left_out_and_counted(index: Index, photos: Path) -> None:
    for i, name in enumerate(SYSTEM_FOLDERS):
        write_picture(photos / "deep" / name / "in" / "thumb.bmp", 50 + i)
    write_picture(photos / "._000.bmp", 80)
    write_picture(photos / "recycled things.bmp", 81)
    (photos / "Thumbs.db").touch()
    for hidden in (False, True):
        report = embed_directory(photos, index, include_hidden=hidden)
        assert report.embedded == (not hidden)
        assert sum(report.system_files.values()) == len(SYSTEM_FOLDERS) + 2
        assert report.system_files[".Trash*"] == 2
        assert (report.system_files["$RECYCLE.BIN"], report.system_files["._*"]) == (1, 1)
        assert read_status(index.path).system_files == report.system_files
    (photos / "._000.bmp").unlink()
    taken = embed_directory(photos, index, include_system=True)
    assert counts(taken) == {"unchanged": 7, "embedded": len(SYSTEM_FOLDERS)}
    assert counts(embed_directory(photos, index))["set_aside"] == len(SYSTEM_FOLDERS)


def test_a_system_folder_that_is_named_is_taken(index: Index, photos: Path) -> None:
    write_picture(photos / "#recycle" / "deleted.bmp", 50)
    assert counts(embed_directory(photos / "#recycle", index)) == {"embedded": 1}


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
