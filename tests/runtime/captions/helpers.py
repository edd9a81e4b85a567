"""Captions and pictures written, and what was read of them."""

from __future__ import annotations

import json
from pathlib import Path

from itl_infer.captions import CaptionDataset


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


TOKEN = (
    "1000092795.jpg#0\tTwo young guys with shaggy hair look at their hands .\n"
    "1000092795.jpg#1\tTwo men in jersey #9 and #51\tstand in a yard .\n"
    "10002456.jpg#0\tSeveral men in hard hats , operating a giant pulley system .\n"
    '10002456.jpg#1\tA sign says " caf\u00e9 " | boy \u2019s\u2028hat .\n'
    "10002456.jpg#2\tThree men .\n"
)
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


def put_ten(folder: Path) -> Path:
    put_pictures(folder / "images", *(f"{i}.jpg" for i in range(10)))
    return put(folder / "c.token", "".join(f"{i}.jpg#0\tA dog .\n" for i in range(10)))


def put_entities(folder: Path, train: str, val: str, test: str) -> Path:
    for name, text in (("train", train), ("val", val), ("test", test)):
        put(folder / f"{name}.txt", text)
    return folder
