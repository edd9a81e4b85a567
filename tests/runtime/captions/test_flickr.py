"""Captions of Flickr8k and Flickr30k, from files of their exact shapes with their known faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from itl_infer.captions import SPLITS, read_captions
from itl_infer.errors import CaptionsError
from tests.runtime.captions.helpers import (
    GHOST,
    NAMES_8K,
    TOKEN,
    captions_of,
    put,
    put_flickr8k,
    put_pictures,
    skipped_of,
    splits_of,
)

# --- Flickr30k ----------------------------------------------------------------------------------------------


def test_flickr30k_token(tmp_path: Path) -> None:
    images = put_pictures(tmp_path / "flickr30k-images", "1000092795.jpg", "10002456.jpg")
    dataset = read_captions(put(tmp_path / "results_20130124.token", TOKEN), images)
    assert captions_of(dataset) == {
        "1000092795.jpg": [
            "Two young guys with shaggy hair look at their hands .",
            "Two men in jersey #9 and #51\tstand in a yard .",
        ],
        "10002456.jpg": [
            "Several men in hard hats , operating a giant pulley system .",
            'A sign says " caf\u00e9 " | boy \u2019s\u2028hat .',
            "Three men .",
        ],
    }
    assert dataset.report.skipped == ()
    assert dataset.paths == [images / "1000092795.jpg", images / "10002456.jpg"]
    assert dataset.caption_owners == [0, 0, 1, 1, 1]


def test_a_name_may_hold_the_mark_before_its_number(tmp_path: Path) -> None:
    put_pictures(tmp_path, "take #2.jpg")
    dataset = read_captions(put(tmp_path / "a.token", "take #2.jpg#0\tA dog #1 .\r\n"))
    assert captions_of(dataset) == {"take #2.jpg": ["A dog #1 ."]}


def test_token_lines_that_are_none_are_named_and_the_rest_is_used(tmp_path: Path) -> None:
    put_pictures(tmp_path, "1.jpg")
    text = "1.jpg#0\tA dog .\n1.jpg#1 no tab .\n\n1.jpg#0\tA cat .\n1.jpg\tno number\n1.jpg#4\t \n"
    dataset = read_captions(put(tmp_path / "a.token", text))
    assert captions_of(dataset) == {"1.jpg": ["A dog ."]}
    assert skipped_of(dataset) == [
        ("a.token:2", "1.jpg#1 no tab .", "line is not NAME#NUMBER, a tab, a caption"),
        ("a.token:4", "1.jpg caption 0", "caption number used before"),
        ("a.token:5", "1.jpg\tno number", "line is not NAME#NUMBER, a tab, a caption"),
        ("a.token:6", "1.jpg", "empty caption"),
    ]


KAGGLE = (
    "image_name| comment_number| comment\n"
    '1000092795.jpg| 0| Two young guys , with "shaggy" hair .\n'
    "1000092795.jpg| 1| 3 men|a yard .\n"
    "2199200615.jpg| 3| A dog with a toy .\n"
    "2199200615.jpg| 4   A dog runs across the grass .\n"
    "10002456.jpg| 0| Several men .\n"
)
KAGGLE_CAPTIONS = {
    "1000092795.jpg": ['Two young guys , with "shaggy" hair .', "3 men|a yard ."],
    "2199200615.jpg": ["A dog with a toy .", "A dog runs across the grass ."],
    "10002456.jpg": ["Several men ."],
}


@pytest.mark.parametrize(
    "text",
    [
        KAGGLE,
        KAGGLE.partition("\n")[2],
        KAGGLE.replace("| ", "|"),
        KAGGLE.replace("\n", "\r\n"),
        "\ufeff" + KAGGLE,
    ],
    ids=["header", "no header", "no spaces", "Windows line ends", "byte order mark"],
)
def test_flickr30k_kaggle_table(tmp_path: Path, text: str) -> None:
    images = put_pictures(tmp_path / "images", *KAGGLE_CAPTIONS)
    dataset = read_captions(put(tmp_path / "results.csv", text), images)
    assert captions_of(dataset) == KAGGLE_CAPTIONS
    assert dataset.report.skipped == ()
    [note] = dataset.report.notes
    line = 4 if text.startswith("1000") else 5
    assert f"results.csv:{line}: second bar missing, read as caption 4" in note


@pytest.mark.parametrize("given", ["outer", "inner", "nothing"])
def test_flickr30k_kaggle_nested_folder_of_the_same_name(tmp_path: Path, given: str) -> None:
    outer = tmp_path / "flickr30k_images"
    inner = put_pictures(outer / "flickr30k_images", *KAGGLE_CAPTIONS)
    captions = put(outer / "results.csv", KAGGLE)
    dataset = read_captions(captions, {"outer": outer, "inner": inner, "nothing": None}[given])
    assert [path.resolve() for path in dataset.paths] == [inner / name for name in KAGGLE_CAPTIONS]
    assert list(captions_of(dataset).values()) == list(KAGGLE_CAPTIONS.values())
    assert dataset.report.skipped == ()


def test_flickr30k_kaggle_with_every_picture_twice(tmp_path: Path) -> None:
    outer = tmp_path / "flickr30k_images"
    inner = put_pictures(outer / "flickr30k_images", *KAGGLE_CAPTIONS)
    put_pictures(inner / "flickr30k_images", *KAGGLE_CAPTIONS)
    dataset = read_captions(put(outer / "results.csv", KAGGLE))
    assert dataset.paths == [inner / name for name in KAGGLE_CAPTIONS]
    assert dataset.report.skipped == ()


def test_table_lines_that_are_none_are_named(tmp_path: Path) -> None:
    put_pictures(tmp_path, "1.jpg")
    text = "1.jpg| 0| A dog .\n1.jpg| A cat .\n1.jpg| 2|\n"
    dataset = read_captions(put(tmp_path / "results.csv", text))
    assert skipped_of(dataset) == [
        ("results.csv:2", "1.jpg| A cat .", "line is not NAME| NUMBER| CAPTION"),
        ("results.csv:3", "1.jpg", "empty caption"),
    ]


# --- Flickr8k -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [True, False], ids=["splits given", "splits beside the captions"])
def test_flickr8k_token(tmp_path: Path, given: bool) -> None:
    captions, images = put_flickr8k(tmp_path)
    dataset = read_captions(captions, images, captions.parent if given else None)
    assert splits_of(dataset) == dict(zip(NAMES_8K, SPLITS, strict=False))
    assert all(len(example.captions) == 5 for example in dataset)
    assert skipped_of(dataset) == [
        ("Flickr8k.token.txt:21", GHOST, "no such picture"),
        ("Flickr8k.token.txt:16", NAMES_8K[3], "in no split"),
    ]
    assert dataset.report.split_name == (
        "Flickr_8k.trainImages.txt, Flickr_8k.devImages.txt, Flickr_8k.testImages.txt in Flickr8k_text"
    )


def test_flickr8k_kaggle(tmp_path: Path) -> None:
    images = put_pictures(tmp_path / "Images", *NAMES_8K)
    text = (
        "image,caption\n"
        f"{NAMES_8K[0]},A child in a pink dress is climbing up a set of stairs in an entry way .\n"
        f"{NAMES_8K[0]},A girl , a door , and stairs .\n"
        f'{NAMES_8K[1]},"A black dog , and a ""spotted"" dog"\n'
        f"{NAMES_8K[1]},\n"
        f"{NAMES_8K[2]}\n"
        f'{NAMES_8K[2]},A sign : "stop , now"\n'
        f'{NAMES_8K[3]},"Two lines\nin one caption"\n'
    )
    dataset = read_captions(put(tmp_path / "captions.txt", text), images)
    assert captions_of(dataset) == {
        NAMES_8K[0]: [
            "A child in a pink dress is climbing up a set of stairs in an entry way .",
            "A girl , a door , and stairs .",
        ],
        NAMES_8K[1]: ['A black dog , and a "spotted" dog'],
        NAMES_8K[2]: ['A sign : "stop , now"'],
        NAMES_8K[3]: ["Two lines\nin one caption"],
    }
    assert skipped_of(dataset) == [
        ("captions.txt:5", NAMES_8K[1], "empty caption"),
        ("captions.txt:6", NAMES_8K[2], "line is not a picture's name and a caption"),
    ]


@pytest.mark.parametrize("header", ["image_name,comment_number,comment\n", ""])
def test_flickr30k_with_commas(tmp_path: Path, header: str) -> None:
    images = put_pictures(tmp_path, "1.jpg")
    text = header + '1.jpg,0,"Two men , one dog"\n1.jpg,1,Two men , one dog\n'
    dataset = read_captions(put(tmp_path / "captions.txt", text), images)
    assert captions_of(dataset) == {"1.jpg": ["Two men , one dog"] * 2}


def test_a_quotation_mark_left_open_swallows_no_rows(tmp_path: Path) -> None:
    put_pictures(tmp_path, "1.jpg", "2.jpg")
    captions = put(tmp_path / "captions.txt", 'image,caption\n1.jpg,"A dog\n2.jpg,A cat\n')
    with pytest.raises(CaptionsError, match=r"captions\.txt:2: a quotation mark is not closed"):
        read_captions(captions)
