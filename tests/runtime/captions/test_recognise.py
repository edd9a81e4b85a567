"""What is no captions file that can be used, whatever its format: one line that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from itl_infer.captions import read_captions, read_json_lines
from itl_infer.errors import CaptionsError
from tests.runtime.captions.helpers import TOKEN, coco, put, put_pictures


@pytest.mark.parametrize(
    "name", ["../1.jpg", "a/../../1.jpg", "/etc/1.jpg", "..\\1.jpg", "C:\\1.jpg", "\\\\host\\1.jpg", ".."]
)
@pytest.mark.parametrize("kind", ["token", "bars", "commas", "jsonl", "coco", "names", "read_json_lines"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    put_pictures(tmp_path, "1.jpg", "in/1.jpg")
    row = json.dumps({"image": name, "captions": ["A dog"]})
    file, text = {
        "token": ("c.token", f"1.jpg#0\tA dog\n{name}#0\tA dog"),
        "bars": ("c.csv", f"1.jpg| 0| A dog\n{name}| 0| A dog"),
        "commas": ("c.txt", f"image,caption\n{name},A dog"),
        "jsonl": ("c.jsonl", row),
        "read_json_lines": ("c.jsonl", row),
        "coco": ("c.json", coco([(1, name)], [(1, "A dog")])),
        "names": ("c.json", json.dumps({name: ["A dog"]})),
    }[kind]
    captions = put(tmp_path / file, text)
    with pytest.raises(CaptionsError, match=r"leads out of the pictures' folder") as caught:
        read_json_lines(captions) if kind == "read_json_lines" else read_captions(captions, tmp_path / "in")
    assert f"{captions}:" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            TOKEN.encode().replace("\u00e9".encode(), b"\xe9"),
            r"c\.token:4: not UTF-8 \(byte 0xe9\): save the file as",
        ),
        (TOKEN.encode("utf-16"), r"c\.token:1: not UTF-8 \(byte 0xff\)"),
        (b"", "unknown format"),
        (b"\x00\x01\x02", "unknown format"),
        (b"some prose\nabout dogs\n", "unknown format, it begins 'some prose': expected a Flickr token file"),
    ],
    ids=["Latin-1", "UTF-16", "empty", "binary", "prose"],
)
def test_a_wrong_encoding_or_format_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    put_pictures(tmp_path, "10002456.jpg")
    with pytest.raises(CaptionsError, match=message):
        read_captions(put(tmp_path / "c.token", data))


def test_nothing_to_read_is_refused_with_what_to_give(tmp_path: Path) -> None:
    captions = put(tmp_path / "texts" / "c.token", TOKEN)
    images = put_pictures(tmp_path / "images", "other.jpg")
    with pytest.raises(CaptionsError, match="has no pictures: give the folder that holds them"):
        read_captions(captions)
    with pytest.raises(CaptionsError, match="no folder of pictures at"):
        read_captions(captions, tmp_path / "none")
    with pytest.raises(CaptionsError, match="no captions at"):
        read_captions(tmp_path / "none", images)
    with pytest.raises(
        CaptionsError, match=r"none of its 2 pictures is in .*images: first, .*:1: 1000092795.jpg"
    ):
        read_captions(captions, images)
    with pytest.raises(
        CaptionsError, match=r"no captions found: first, .*c\.token:1: other.jpg: empty caption"
    ):
        read_captions(put(captions, "other.jpg#0\t \n"), images)
    with pytest.raises(CaptionsError, match="no captions found; expected"):
        read_captions(images)
