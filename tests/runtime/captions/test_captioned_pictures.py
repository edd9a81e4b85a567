"""Where the pictures of captions are: found by their names, told apart, or named as missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from itl_infer.captions import read_captions
from itl_infer.captions.pictures import pictures_in
from itl_infer.errors import CaptionsError
from tests.runtime.captions.helpers import TOKEN, put, put_pictures, skipped_of


def test_missing_pictures_and_pictures_without_captions_are_named(tmp_path: Path) -> None:
    images = put_pictures(tmp_path / "images", "10002456.jpg", "x/7.png", ".hidden.jpg", "notes.md")
    (images / "1000092795.jpg").symlink_to(tmp_path / "gone.jpg")
    dataset = read_captions(put(tmp_path / "c.token", TOKEN), images)
    assert skipped_of(dataset) == [
        ("c.token:1", "1000092795.jpg", "no such picture"),
        ("images", "x/7.png", "picture without captions"),
    ]


def test_names_are_found_by_their_folders_and_never_taken_for_one_another(tmp_path: Path) -> None:
    folder = pictures_in(
        put_pictures(
            tmp_path / "set",
            "1.jpg",
            "thumbs/1.jpg",
            "cats/2.jpg",
            "dogs/2.jpg",
            "cats/3.jpg",
            "cafe\u0301.jpg",
        )
    )
    for name, found in {
        "1.jpg": ["1.jpg"],
        "./1.jpg": ["1.jpg"],
        "set/1.jpg": ["1.jpg"],  # the folder itself is part of the name
        "thumbs/1.jpg": ["thumbs/1.jpg"],
        "2.jpg": ["cats/2.jpg", "dogs/2.jpg"],
        "dogs/2.jpg": ["dogs/2.jpg"],
        "set/dogs/2.jpg": ["dogs/2.jpg"],
        "3.jpg": ["cats/3.jpg"],
        "dogs/3.jpg": [],
        "caf\u00e9.jpg": ["cafe\u0301.jpg"],
        "4.jpg": [],
    }.items():
        assert folder.find(name) == found, name


def test_names_that_cannot_be_told_apart(tmp_path: Path) -> None:
    put_pictures(tmp_path, "cats/2.jpg", "dogs/2.jpg", "3.jpg")
    dataset = read_captions(put(tmp_path / "a.token", "2.jpg#0\tA dog\n3.jpg#0\tA cat\n"))
    assert skipped_of(dataset)[0] == (
        "a.token:1",
        "cats/2.jpg, dogs/2.jpg",
        "more than one picture of that name",
    )
    captions = put(tmp_path / "b.token", "3.jpg#0\tA dog\nx/3.jpg#0\tA cat\n")
    with pytest.raises(
        CaptionsError, match=r"b\.token:2: x/3\.jpg and 3\.jpg \(.*:1\) can both only be 3\.jpg"
    ):
        read_captions(captions)


def test_a_picture_whose_name_is_not_unicode(tmp_path: Path) -> None:
    try:
        put_pictures(tmp_path, "caf\udce9.jpg")
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes Unicode names only")
    put(tmp_path / "caf\udce9.txt", "A cup")
    dataset = read_captions(tmp_path)
    assert len(dataset) == 1
    assert len(dataset.ids_sha256) == len(dataset.split_sha256) == 64
    assert dataset.describe().encode(errors="surrogateescape")
