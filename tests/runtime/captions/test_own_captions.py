"""Captions of one's own, as JSON lines and as folders of text files: what is read, what is left out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from itl_infer.captions import CaptionedImage, read_captions, read_json_lines
from itl_infer.captions.dataset import picture_id
from itl_infer.errors import CaptionsError
from tests.runtime.captions.helpers import captions_of, put, put_pictures, skipped_of, splits_of


def test_json_lines(tmp_path: Path) -> None:
    put_pictures(tmp_path / "pictures", "1.jpg", "2.png", "3.webp")
    rows = [
        {"image": "pictures/1.jpg", "captions": ["A dog"], "split": "train", "by": "Ann"},
        {
            "image": "pictures\\2.png",
            "captions": ["A cat", "Eine Katze auf dem Stuhl \u2028 \u00fc"],
            "split": "dev",
        },
        {"image": "pictures/3.webp", "captions": ["A cow", " "], "split": "test"},
    ]
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    dataset = read_captions(put(tmp_path / "captions.jsonl", text))
    assert dataset.examples == (
        CaptionedImage("pictures/1.jpg", ("A dog",), "train"),
        CaptionedImage("pictures/2.png", ("A cat", "Eine Katze auf dem Stuhl \u2028 \u00fc"), "val"),
        CaptionedImage("pictures/3.webp", ("A cow",), "test"),
    )
    assert dataset.examples[0].extra == {"by": "Ann"}
    assert skipped_of(dataset) == [("captions.jsonl:5", "pictures/3.webp", "empty caption")]
    assert dataset.report.split_name == "captions.jsonl"


def test_json_lines_without_splits_get_a_share_and_half_marked_ones_are_trained_on(tmp_path: Path) -> None:
    put_pictures(tmp_path, *(f"{i}.jpg" for i in range(20)))
    rows = [{"image": f"{i}.jpg", "captions": ["A dog"]} for i in range(20)]
    captions = put(tmp_path / "mine.json", "\n".join(map(json.dumps, rows)))
    dataset = read_captions(captions, seed=3)
    assert Counter(splits_of(dataset).values()) == {"train": 16, "val": 2, "test": 2}
    assert dataset.report.split_name == "a seeded share (seed 3)"

    put(
        captions,
        "\n".join(json.dumps(row | ({"split": "test"} if i < 5 else {})) for i, row in enumerate(rows)),
    )
    dataset = read_captions(captions)
    assert Counter(splits_of(dataset).values()) == {"train": 15, "test": 5}
    assert dataset.report.notes == ("pictures that name no split, taken for train: 15",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "1.jpg"', "expected"),
        ('{"image": "1.jpg"}', "expected"),
        ('["1.jpg"]', "expected"),
        ('{"image": 1, "captions": ["A dog"]}', "image must be a name and captions a list"),
        ('{"image": "1.jpg", "captions": "A dog"}', "image must be a name and captions a list"),
        ('{"image": "1.jpg", "captions": [null]}', "1.jpg has None among its captions"),
        ('{"image": " ", "captions": ["A dog"]}', "the picture's name is empty"),
        ('{"image": "1.jpg", "captions": ["A dog"], "split": ["test"]}', r"split \['test'\] is none of"),
        ('{"image": "0.jpg", "captions": ["A dog"]}', r"0.jpg is listed before, at .*\.jsonl:1"),
    ],
)
@pytest.mark.parametrize("read", [read_captions, read_json_lines])
def test_a_wrong_json_line_is_named(tmp_path: Path, line: str, message: str, read: object) -> None:
    put_pictures(tmp_path, "0.jpg", "1.jpg")
    captions = put(tmp_path / "c.jsonl", '{"image": "0.jpg", "captions": ["A cat"]}\n' + line)
    with pytest.raises(CaptionsError, match=rf"c\.jsonl:2: .*{message}"):
        read(captions)  # type: ignore[operator]


def test_read_json_lines_skips_nothing_and_looks_for_no_pictures(tmp_path: Path) -> None:
    captions = put(tmp_path / "set" / "c.jsonl", '{"image": "a/1.jpg", "captions": ["A dog"], "x": [1]}')
    dataset = read_json_lines(captions)
    assert (dataset.name, dataset.folder) == ("set", captions.parent)
    assert dataset.examples == (CaptionedImage("a/1.jpg", ("A dog",), "train"),)
    assert dataset.examples[0].extra == {"x": [1]}
    for row, message in (
        ('{"image": "1.jpg", "captions": ["A dog", ""]}', "c.jsonl:1: 1.jpg: empty caption: remove it"),
        ('{"image": "1.jpg", "captions": []}', "c.jsonl:1: 1.jpg: no caption: remove it"),
        ("", "is empty"),
    ):
        with pytest.raises(CaptionsError, match=message):
            read_json_lines(put(captions, row))
    with pytest.raises(CaptionsError, match="no captions file at"):
        read_json_lines(tmp_path / "none.jsonl")


def test_folder_of_text_files(tmp_path: Path) -> None:
    folder = put_pictures(
        tmp_path / "mine", "cats/1.jpg", "dogs/1.JPG", "2.png", "3.jpg", "3.png", "4.jpg", "5.jpg"
    )
    put(folder / "cats" / "1.txt", "A cat\n\nA cat on a mat\n")
    put(folder / "dogs" / "1.txt", "\ufeffA dog\r\nA brown dog")
    put(folder / "2.txt", "caf\u00e9\ncaf\u00e9".encode("latin-1"))
    put(folder / "3.txt", "A cow")
    put(folder / "4.txt", "\n")
    put(folder / "notes.txt", "to do")
    put(folder / ".hidden" / "x.txt", "?")
    dataset = read_captions(folder)
    assert captions_of(dataset) == {
        "cats/1.jpg": ["A cat", "A cat on a mat"],
        "dogs/1.JPG": ["A dog", "A brown dog"],
    }
    assert skipped_of(dataset) == [
        ("3.txt", "3.jpg, 3.png", "more than one picture of that name"),
        ("notes.txt", "notes.txt", "no picture has the name of this .txt file"),
        ("2.txt:1", "2.png", "not UTF-8: save the file as UTF-8"),
        ("4.txt", "4.jpg", "picture listed without a caption"),
        ("mine", "2.png", "picture without captions"),
        ("mine", "3.jpg", "picture without captions"),
        ("mine", "3.png", "picture without captions"),
        ("mine", "5.jpg", "picture without captions"),
    ]


def test_folder_of_text_files_apart_from_the_pictures_and_in_split_folders(tmp_path: Path) -> None:
    images = put_pictures(tmp_path / "images", "train/1.jpg", "val/2.jpg", "test/3.jpg")
    for name in ("train/1", "val/2", "test/3"):
        put(tmp_path / "texts" / f"{name}.txt", "A dog")
    dataset = read_captions(tmp_path / "texts", images)
    assert splits_of(dataset) == {"test/3.jpg": "test", "train/1.jpg": "train", "val/2.jpg": "val"}
    assert dataset.report.split_name == "texts"


def test_the_original_projects_caption_files(tmp_path: Path, shared: Path) -> None:
    seed = shared / "seed"
    wanted = json.loads((seed / "splits.json").read_text())
    for split in ("val", "test"):
        captions = seed / f"flickr30k_{split}_captions.json"
        raw = json.loads(captions.read_text(encoding="utf-8"))
        images = put_pictures(tmp_path / split / "flickr30k-images", *raw)
        dataset = read_captions(captions, images, seed / "splits.json")
        assert captions_of(dataset) == {name: texts[:5] for name, texts in raw.items()}
        assert Counter(splits_of(dataset).values()) == {split: 1000}
        assert [picture_id(example.image) for example in dataset] == wanted[split]
        assert len(dataset.captions) == 5000
        missing = {reason for _, _, reason in skipped_of(dataset)}
        assert missing == {"in a split, but not among the pictures found"}
