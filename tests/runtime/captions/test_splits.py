"""Which pictures are trained on and which are tested with: in files, in captions, and by a share."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itl_infer.captions import SPLITS, read_captions
from itl_infer.captions.dataset import picture_id
from itl_infer.captions.splits import read_splits, seeded_share
from itl_infer.errors import CaptionsError
from tests.runtime.captions.helpers import (
    karpathy,
    put,
    put_entities,
    put_pictures,
    put_ten,
    skipped_of,
    splits_of,
)


def test_splits_of_flickr30k_entities(tmp_path: Path) -> None:
    splits = put_entities(tmp_path / "flickr30k_entities", "4\n3\n2\n\n", "1\r\n", "0\n77")
    dataset = read_captions(put_ten(tmp_path), splits=splits)
    assert {split: [e.image for e in dataset.split(split)] for split in SPLITS} == {
        "train": ["images/2.jpg", "images/3.jpg", "images/4.jpg"],
        "val": ["images/1.jpg"],
        "test": ["images/0.jpg"],
    }
    assert skipped_of(dataset) == [
        *((f"c.token:{i + 1}", f"{i}.jpg", "in no split") for i in range(5, 10)),
        ("test.txt:2", "77", "in a split, but not among the pictures found"),
    ]
    assert dataset.report.split_name == "train.txt, val.txt, test.txt in flickr30k_entities"


def test_the_same_split_has_the_same_hash_in_every_layout_and_only_it(tmp_path: Path) -> None:
    splits = put_entities(tmp_path / "entities", "2\n3\n4\n5\n6\n7\n8\n9", "1", "0")
    token = read_captions(put_ten(tmp_path / "a"), splits=splits)
    pictures = put_pictures(tmp_path / "b" / "flickr30k_images", *(f"{i}.jpg" for i in reversed(range(10))))
    table = put(tmp_path / "b" / "results.csv", "".join(f"{i}.jpg| 0| A .\n" for i in reversed(range(10))))
    kaggle = read_captions(table, pictures, splits)
    other = read_captions(table, pictures, put_entities(tmp_path / "c", "2\n3", "0", "1"))
    assert token.ids_sha256 != kaggle.ids_sha256
    assert token.split("test").split_sha256 == kaggle.split("test").split_sha256
    assert token.split("train").split_sha256 == kaggle.split("train").split_sha256
    assert token.split("test").split_sha256 != other.split("test").split_sha256


def test_another_split_can_be_taken_from_karpathys_file(tmp_path: Path) -> None:
    rows = [(f"{i}.jpg", ("test", "val")[i] if i < 2 else "restval", "val2014") for i in range(10)]
    captions = put_ten(tmp_path)
    splits = put(tmp_path / "dataset_flickr30k.json", karpathy(*rows))
    dataset = read_captions(captions, splits=splits)
    assert Counter(splits_of(dataset).values()) == {"train": 8, "val": 1, "test": 1}
    assert dataset.report.split_name == "dataset_flickr30k.json"


def test_splits_given_win_over_those_in_the_captions(tmp_path: Path) -> None:
    put_pictures(tmp_path, "cats/1.jpg", "dogs/1.jpg")
    text = "".join(
        json.dumps({"image": f"{x}/1.jpg", "captions": ["A"], "split": "train"}) + "\n"
        for x in ("cats", "dogs")
    )
    splits = put(tmp_path / "s.json", '{"train": ["cats/1"], "val": ["dogs/1.jpg"]}')
    dataset = read_captions(put(tmp_path / "c.jsonl", text), splits=splits)
    assert splits_of(dataset) == {"cats/1.jpg": "train", "dogs/1.jpg": "val"}
    assert dataset.report.notes == ("the splits in c.jsonl are not used",)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("0\n3.jpg\n", r"test\.txt:2: 3\.jpg is in test, and in train at .*train\.txt:2"),
        ("0\n0\n", r"test\.txt:2: 0 is in test, and in test at .*test\.txt:1"),
    ],
    ids=["two splits", "one split twice"],
)
def test_a_split_that_overlaps_itself_is_refused(tmp_path: Path, test: str, message: str) -> None:
    splits = put_entities(tmp_path / "s", "4\n3\n2\n", "1", test)
    with pytest.raises(CaptionsError, match=message):
        read_captions(put_ten(tmp_path), splits=splits)


def test_wrong_split_files_are_refused(tmp_path: Path) -> None:
    captions = put_ten(tmp_path)
    (tmp_path / "empty").mkdir()
    foreign = put_entities(tmp_path / "foreign", "100", "200", "300")
    overlap = put(tmp_path / "s.json", '{"train": [1, 2], "test": ["2.jpg"]}')
    for splits, message in (
        (tmp_path / "none", "no split files at"),
        (tmp_path / "empty", "has no split files: expected train.txt, val.txt, test.txt or Flickr_8k"),
        (foreign, "none of the 10 pictures is in them"),
        (overlap, r"test\[0\]: 2\.jpg is in test, and in train at .*train\[1\]"),
        (captions, "c.token:1: not JSON"),
        (put(tmp_path / "t.json", '{"trian": []}'), "is no split file"),
    ):
        with pytest.raises(CaptionsError, match=message):
            read_captions(captions, splits=splits)


def test_a_share_does_not_depend_on_which_pictures_are_there(tmp_path: Path) -> None:
    """Or a bundle would be measured, where half of the pictures are missing, on what it was trained on."""
    captions = put(tmp_path / "c.token", "".join(f"{i}.jpg#0\tA dog .\n" for i in range(50)))
    whole = splits_of(
        read_captions(captions, put_pictures(tmp_path / "all", *(f"{i}.jpg" for i in range(50))))
    )
    half = read_captions(captions, put_pictures(tmp_path / "half", *(f"{i}.jpg" for i in range(0, 50, 2))))
    assert splits_of(half) == {f"{i}.jpg": whole[f"{i}.jpg"] for i in range(0, 50, 2)}
    missing = {skipped.what: skipped.split for skipped in half.report.skipped}
    assert missing == {f"{i}.jpg": whole[f"{i}.jpg"] for i in range(1, 50, 2)}


@given(st.sets(st.integers(0, 10**6), min_size=3, max_size=60), st.integers(0, 99))
def test_the_seeded_share_depends_on_ids_and_seed_alone(ids: set[int], seed: int) -> None:
    share = seeded_share([f"{i}.jpg" for i in sorted(ids)], seed)
    elsewhere = seeded_share([f"images/{i}.png" for i in ids], seed)
    assert {picture_id(k): v for k, v in elsewhere.items()} == {picture_id(k): v for k, v in share.items()}
    counts = Counter(share.values())
    assert counts["val"] == counts["test"] == max(1, round(len(ids) / 10))


def test_the_seeded_share_holds_out_a_thousand_at_most_and_follows_the_seed() -> None:
    names = [f"{i}.jpg" for i in range(12_000)]
    assert Counter(seeded_share(names, 0).values()) == {"train": 10_000, "val": 1000, "test": 1000}
    assert seeded_share(names, 0) != seeded_share(names, 1)
    assert seeded_share(names[:2], 0) == {"0.jpg": "train", "1.jpg": "train"}


def test_read_splits_gives_every_id_its_place(tmp_path: Path) -> None:
    lists = read_splits(put_entities(tmp_path / "s", "7", "8.jpg", "cats/9"))
    assert {i: split for i, (split, _) in lists.ids.items()} == {"7": "train", "8": "val", "cats/9": "test"}
    assert [lists.id_of(name) for name in ("a/7.png", "8.jpg", "cats/9.jpg", "9.jpg")] == [
        "7",
        "8",
        "cats/9",
        None,
    ]
