"""Captions of COCO, as its own files and Karpathy's have them: what is read, what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from itl_infer.captions import SPLITS, read_captions
from itl_infer.errors import CaptionsError
from tests.runtime.captions.helpers import (
    captions_of,
    coco,
    karpathy,
    put,
    put_pictures,
    skipped_of,
    splits_of,
)


def test_karpathy_flickr30k(tmp_path: Path) -> None:
    images = put_pictures(tmp_path / "flickr30k-images", "1.jpg", "2.jpg", "3.jpg")
    text = karpathy(*((f"{i}.jpg", split, None) for i, split in enumerate(["test", *SPLITS])), captions=2)
    dataset = read_captions(put(tmp_path / "dataset_flickr30k.json", text), images)
    assert captions_of(dataset) == {f"{i}.jpg": ["A dog, no. 0!", "A dog, no. 1!"] for i in (1, 2, 3)}
    assert splits_of(dataset) == {"1.jpg": "train", "2.jpg": "val", "3.jpg": "test"}
    assert skipped_of(dataset) == [("dataset_flickr30k.json: images[0]", "0.jpg", "no such picture")]
    assert dataset.report.split_name == "dataset_flickr30k.json"


@pytest.mark.parametrize("flat", [True, False], ids=["all in one folder", "train2014 and val2014"])
def test_karpathy_coco_restval_is_trained_on(tmp_path: Path, flat: bool) -> None:
    rows = [
        ("COCO_val2014_000000391895.jpg", "test", "val2014"),
        ("COCO_train2014_000000057870.jpg", "train", "train2014"),
        ("COCO_val2014_000000184613.jpg", "restval", "val2014"),
    ]
    names = [name if flat else f"{folder}/{name}" for name, _, folder in rows]
    images = put_pictures(tmp_path / "coco", *names)
    dataset = read_captions(put(tmp_path / "dataset_coco.json", karpathy(*rows)), images)
    assert splits_of(dataset) == dict(zip(names, ("test", "train", "train"), strict=True))
    assert dataset.report.notes == ("pictures marked restval, taken for train: 1",)


def test_coco_with_more_than_five_captions(tmp_path: Path) -> None:
    images = put_pictures(tmp_path / "val2017", "000000179765.jpg", "000000190236.jpg", "000000331352.jpg")
    text = coco(
        [(179765, "000000179765.jpg"), (190236, "000000190236.jpg"), (331352, "000000331352.jpg")],
        [(179765, f"A motorcycle {i}\n") for i in range(7)] + [(190236, "An office"), (5, "?"), (190236, "")],
    )
    dataset = read_captions(put(tmp_path / "annotations" / "captions_val2017.json", text), images)
    assert captions_of(dataset) == {
        "000000179765.jpg": [f"A motorcycle {i}" for i in range(7)],
        "000000190236.jpg": ["An office"],
    }
    assert skipped_of(dataset) == [
        ("captions_val2017.json: images[1]", "000000190236.jpg", "empty caption"),
        ("captions_val2017.json: annotations[8]", "image_id 5", "caption of a picture that is not listed"),
        ("captions_val2017.json: images[2]", "000000331352.jpg", "picture listed without a caption"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (coco([(1, "1.jpg"), (1, "1.jpg")], [(1, "A dog")]), r"images\[1\]: id 1 is listed before"),
        (coco([(1, "1.jpg"), (2, "1.jpg")], [(1, "A"), (2, "B")]), r"images\[1\]: 1.jpg is listed before"),
        ('{"images": [], "annotations": [{"image_id": 1, "bbox": []}]}', r"annotations\[0\]: expected"),
        (karpathy(("1.jpg", "train", None), ("1.jpg", "test", None)), r"images\[1\]: 1.jpg is listed before"),
        (karpathy(("1.jpg", "trian", None)), r"images\[0\]: split 'trian' is none of train, val, test"),
        ('{"images": [{"filename": "1.jpg", "sentences": [{"tokens": []}]}]}', r"images\[0\]: expected"),
        ('{"images": [{"filename": "1.jpg"', r":1: not JSON \(.*\): the file may be cut short"),
        ('{"1.jpg": ["A dog"],\n "1.jpg": ["A cat"]}', r":2: 1.jpg is there twice: name it once"),
        ('{"1.jpg": ["A dog", 7]}', "1.jpg has 7 among its captions"),
        ("[1, 2]", "JSON of unknown shape"),
        ("[" * 100_000, "JSON that cannot be used|not JSON"),
    ],
)
def test_json_that_is_wrong_is_refused_and_says_where(tmp_path: Path, text: str, message: str) -> None:
    put_pictures(tmp_path, "1.jpg")
    with pytest.raises(CaptionsError, match=message) as caught:
        read_captions(put(tmp_path / "captions.json", text))
    assert str(tmp_path / "captions.json") in str(caught.value)
    assert "\n" not in str(caught.value)
