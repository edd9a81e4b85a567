"""Which pictures are for training and which for measuring: from split files, or by a seeded share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from itl_infer.captions.dataset import one_line, picture_id, without_suffix
from itl_infer.captions.karpathy import is_karpathy, read_karpathy
from itl_infer.captions.listing import SPLIT_NAMES, numbered_lines, parse_json, read_text
from itl_infer.errors import CaptionsError

SPLIT_FILES = (
    {"train": "train.txt", "val": "val.txt", "test": "test.txt"},  # Flickr30k Entities
    {
        "train": "Flickr_8k.trainImages.txt",
        "val": "Flickr_8k.devImages.txt",
        "test": "Flickr_8k.testImages.txt",
    },
)
HELD_OUT_SHARE = 0.1  # for val, and as much again for test
HELD_OUT_AT_MOST = 1000  # pictures: the size that recall is published for


@dataclass(frozen=True)
class SplitLists:
    """The ids that split files list, each once, with its split and its place in them."""

    name: str
    ids: dict[str, tuple[str, str]]  # id without suffix -> (split, where)

    def id_of(self, image: str) -> str | None:
        """Under which id a picture is listed: its whole name, or its name without folders."""
        return next((i for i in (without_suffix(image), picture_id(image)) if i in self.ids), None)


def split_files_in(folder: Path) -> dict[str, Path] | None:
    """The three files of a folder that hold a split of one of the known shapes, if all are there."""
    for names in SPLIT_FILES:
        files = {split: folder / name for split, name in names.items()}
        if all(file.is_file() for file in files.values()):
            return files
    return None


def read_splits(path: Path) -> SplitLists:
    """From a folder with a list of ids for each split, or JSON: Karpathy's, or `{"train": [ids], ...}`.

    CaptionsError where an id is listed twice.
    """
    if path.is_dir():
        files = split_files_in(path)
        if files is None:
            shapes = " or ".join(", ".join(names.values()) for names in SPLIT_FILES)
            raise CaptionsError(f"{path} has no split files: expected {shapes}")
        name = f"{', '.join(file.name for file in files.values())} in {path.resolve().name}"
        return _collect(
            name,
            (
                (line.strip(), split, f"{file}:{number}")
                for split, file in files.items()
                for number, line in numbered_lines(read_text(file))
            ),
        )
    if not path.is_file():
        raise CaptionsError(f"no split files at {path}: give a folder with train.txt, val.txt and test.txt")
    data = parse_json(path, read_text(path))
    if is_karpathy(data):
        pictures = read_karpathy(path, data).pictures  # type: ignore[arg-type]
        return _collect(path.name, ((picture_id(p.image), p.split, p.where) for p in pictures if p.split))
    if isinstance(data, dict) and all(k in SPLIT_NAMES and isinstance(v, list) for k, v in data.items()):
        return _collect(
            path.name,
            (
                (str(name), SPLIT_NAMES[split], f"{path}: {split}[{i}]")
                for split, names in data.items()
                for i, name in enumerate(names)
            ),
        )
    raise CaptionsError(f'{path} is no split file: expected {{"train": [ids], "val": [ids], "test": [ids]}}')


def _collect(name: str, rows: Iterable[tuple[str, str, str]]) -> SplitLists:
    ids: dict[str, tuple[str, str]] = {}
    for listed, split, where in rows:
        bare = without_suffix(listed)
        if bare in ids:
            other, place = ids[bare]
            raise CaptionsError(
                f"{where}: {one_line(listed)} is in {split}, and in {other} at {place}: "
                "a split must list each picture once"
            )
        ids[bare] = (split, where)
    return SplitLists(name, ids)


def seeded_share(images: Sequence[str], seed: int) -> dict[str, str]:
    """A split for each name: a tenth each for val and test, 1000 at most.

    Decided by a hash of each id, so neither folders nor order matter, and pictures that are added later move
    few of the others.
    """
    held_out = min(HELD_OUT_AT_MOST, max(1, round(HELD_OUT_SHARE * len(images)))) if len(images) > 2 else 0
    shuffled = sorted(images, key=lambda image: (_shuffled(picture_id(image), seed), image))
    return {
        image: "test" if i < held_out else "val" if i < 2 * held_out else "train"
        for i, image in enumerate(shuffled)
    }


def _shuffled(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()  # any str
