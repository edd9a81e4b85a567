"""What a data set says of itself, and several as one."""

from __future__ import annotations

import json
from pathlib import Path

from itl_infer.captions import CaptionDataset, CaptionedImage, Report, Skipped, join_datasets, read_captions
from tests.runtime.captions.helpers import GHOST, NAMES_8K, put, put_flickr8k, put_pictures


def test_describe_and_summary(tmp_path: Path) -> None:
    captions, images = put_flickr8k(tmp_path)
    put_pictures(images, *(f"spare{i}.jpg" for i in range(5)))
    dataset = read_captions(captions, images)
    assert dataset.describe() == "\n".join(
        [
            f"Flicker8k_Dataset: 3 pictures, 15 captions, Flickr token file {captions}",
            "  train         1 pictures         5 captions",
            "  val           1 pictures         5 captions",
            "  test          1 pictures         5 captions",
            "  splits from Flickr_8k.trainImages.txt, Flickr_8k.devImages.txt, Flickr_8k.testImages.txt "
            "in Flickr8k_text",
            "  skipped 1: no such picture",
            f"    {captions}:21: {GHOST}",
            "  skipped 1: in no split",
            f"    {captions}:16: {NAMES_8K[3]}",
            "  skipped 5: picture without captions",
            f"    {images}: spare0.jpg",
            f"    {images}: spare1.jpg",
            f"    {images}: spare2.jpg",
            "    and 2 more",
        ]
    )
    summary = dataset.summary()
    assert str(tmp_path) not in json.dumps(summary)
    assert summary["captions_file"] == "Flickr8k.token.txt"
    assert summary["split_name"] == dataset.report.split_name
    assert summary["skipped"] == {"no such picture": 1, "in no split": 1, "picture without captions": 5}
    assert summary["splits"]["test"] == {  # type: ignore[index]
        "pictures": 1,
        "captions": 5,
        "ids_sha256": dataset.split("test").split_sha256,
    }
    assert dataset.split("test").report == dataset.report


def test_what_a_file_says_is_fit_to_be_printed(tmp_path: Path) -> None:
    put_pictures(tmp_path, "1.jpg")
    row = json.dumps({"image": "\x1b[2J\ud800" + "x" * 200, "captions": ["A dog"]})
    dataset = read_captions(put(tmp_path / "c.jsonl", '{"image": "1.jpg", "captions": ["A"]}\n' + row))
    text = dataset.describe() + str(dataset.report.skipped[0])
    assert "\x1b" not in text
    assert text.encode()
    assert "x" * 100 not in text


def test_joined_data_sets_keep_every_picture_and_what_was_left_out(tmp_path: Path) -> None:
    parts = []
    for name in ("first", "second"):
        (tmp_path / name / "images").mkdir(parents=True)
        skipped = (Skipped(f"{name}.jsonl:2", "gone.png", "no such picture"),)
        example = CaptionedImage("images/1.png", (f"of the {name} .",), "train", {"number": 1})
        parts.append(CaptionDataset(name, tmp_path / name, (example,), Report(skipped=skipped)))
    both = join_datasets("both", *parts)
    assert both.folder == tmp_path.resolve()
    assert both.paths == [path.resolve() for part in parts for path in part.paths]
    assert both.captions == ["of the first .", "of the second ."]
    assert [example.extra for example in both] == [{"number": 1}] * 2
    assert len(both.report.skipped) == 2
