"""Every captions format, from a file of its exact shape with its known faults: what is read, what is left out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itl_infer.captions import (
    SPLITS,
    CaptionDataset,
    CaptionedImage,
    Report,
    Skipped,
    join_datasets,
    read_captions,
    read_json_lines,
)
from itl_infer.captions.dataset import picture_id
from itl_infer.captions.pictures import pictures_in
from itl_infer.captions.splits import read_splits, seeded_share
from itl_infer.errors import CaptionsError


def put_pictures(folder: Path, *names: str) -> Path:
    """Empty files: these readers look pictures up, and never into them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def put(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def captions_of(dataset: CaptionDataset) -> dict[str, list[str]]:
    return {example.image: list(example.captions) for example in dataset}


def skipped_of(dataset: CaptionDataset) -> list[tuple[str, str, str]]:
    """Without the folder that each file is in."""
    return [(s.where.rpartition("/")[2], s.what, s.reason) for s in dataset.report.skipped]


def splits_of(dataset: CaptionDataset) -> dict[str, str]:
    return {example.image: example.split for example in dataset}


# --- Flickr30k ----------------------------------------------------------------------------------------------

TOKEN = (
    "1000092795.jpg#0\tTwo young guys with shaggy hair look at their hands .\n"
    "1000092795.jpg#1\tTwo men in jersey #9 and #51\tstand in a yard .\n"
    "10002456.jpg#0\tSeveral men in hard hats , operating a giant pulley system .\n"
    '10002456.jpg#1\tA sign says " caf\u00e9 " | boy \u2019s\u2028hat .\n'
    "10002456.jpg#2\tThree men .\n"
)


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

GHOST = "2258277193_586949ec62.jpg.1"
NAMES_8K = [
    "1000268201_693b08cb0e.jpg",
    "1001773457_577c3a7d70.jpg",
    "1002674143_1b742ab4b8.jpg",
    "1003163366_44323f5815.jpg",
]


def put_flickr8k(folder: Path) -> tuple[Path, Path]:
    """The two zip files, unpacked: (captions, pictures); the last picture is in no split."""
    images = put_pictures(folder / "Flicker8k_Dataset", *NAMES_8K)
    texts = folder / "Flickr8k_text"
    rows = [f"{name}#{i}\tA dog number {i} .\n" for name in [*NAMES_8K, GHOST] for i in range(5)]
    for split, name in zip(("train", "dev", "test"), NAMES_8K, strict=False):
        put(texts / f"Flickr_8k.{split}Images.txt", name + "\n")
    return put(texts / "Flickr8k.token.txt", "".join(rows)), images


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


# --- Karpathy and COCO --------------------------------------------------------------------------------------


def karpathy(*images: tuple[str, str, str | None], captions: int = 5) -> str:
    """One line, as published, from (filename, split, filepath)."""
    entries = []
    for i, (filename, split, folder) in enumerate(images):
        sentences = [
            {"tokens": ["a", "dog"], "raw": f"A dog, no. {j}!", "imgid": i, "sentid": captions * i + j}
            for j in range(captions)
        ]
        sentids = [sentence["sentid"] for sentence in sentences]
        entry = {
            "sentids": sentids,
            "imgid": i,
            "sentences": sentences,
            "split": split,
            "filename": filename,
        }
        entries.append(entry | ({"filepath": folder, "cocoid": i} if folder else {}))
    return json.dumps({"images": entries, "dataset": "flickr30k"})


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


def coco(images: list[tuple[int, str]], annotations: list[tuple[int, str]]) -> str:
    return json.dumps(
        {
            "info": {"description": "COCO 2017 Dataset"},
            "licenses": [],
            "images": [{"license": 4, "file_name": name, "id": i, "height": 427} for i, name in images],
            "annotations": [
                {"image_id": i, "id": n, "caption": text} for n, (i, text) in enumerate(annotations)
            ],
        }
    )


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


# --- one's own ----------------------------------------------------------------------------------------------


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


# --- splits -------------------------------------------------------------------------------------------------


def put_ten(folder: Path) -> Path:
    put_pictures(folder / "images", *(f"{i}.jpg" for i in range(10)))
    return put(folder / "c.token", "".join(f"{i}.jpg#0\tA dog .\n" for i in range(10)))


def put_entities(folder: Path, train: str, val: str, test: str) -> Path:
    for name, text in (("train", train), ("val", val), ("test", test)):
        put(folder / f"{name}.txt", text)
    return folder


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


# --- what is wrong ------------------------------------------------------------------------------------------


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


# --- the report ---------------------------------------------------------------------------------------------


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


def test_read_splits_gives_every_id_its_place(tmp_path: Path) -> None:
    lists = read_splits(put_entities(tmp_path / "s", "7", "8.jpg", "cats/9"))
    assert {i: split for i, (split, _) in lists.ids.items()} == {"7": "train", "8": "val", "cats/9": "test"}
    assert [lists.id_of(name) for name in ("a/7.png", "8.jpg", "cats/9.jpg", "9.jpg")] == [
        "7",
        "8",
        "cats/9",
        None,
    ]


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
