"""Reads labelled pictures: a folder for each class, `SOURCE/train|val/CLASS/picture` or `CLASS/picture`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from export.errors import ExportError
from itl_infer.image import IMAGE_SUFFIXES

_SPLITS = ("train", "val")
VAL_EVERY = 20
"""Where the folders name no val pictures, one in so many is held out."""


@dataclass(frozen=True)
class LabelledPicture:
    """One picture and what it shows."""

    path: Path
    label: str  # SOURCE/CLASS
    split: str  # train or val

    @property
    def source(self) -> str:
        return self.label.partition("/")[0]


@dataclass(frozen=True)
class LabelledDataset:
    """Labelled pictures of one folder, in a fixed order."""

    folder: Path
    pictures: tuple[LabelledPicture, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[LabelledPicture]:
        return iter(self.pictures)

    @property
    def labels(self) -> list[str]:
        """The classes, sorted; a class's place here is its number."""
        return sorted({picture.label for picture in self.pictures})

    def split(self, name: str) -> LabelledDataset:
        return LabelledDataset(self.folder, tuple(p for p in self.pictures if p.split == name))


def read_labelled(folder: Path) -> LabelledDataset:
    """Every picture below `folder`, sorted by path, with its class and split.

    A class is a folder that holds pictures; its source is the folder above it (above train and val, where these are).
    Without val folders, every twentieth picture of each class is val. Raises ExportError where there is nothing to
    learn, or a class of val has no picture in train.
    """
    if not folder.is_dir():
        raise ExportError(
            f"no folder of labelled pictures at {folder}: give one that holds a folder for each class"
        )
    pictures = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        parts = path.relative_to(folder).parts[:-1]
        split = next((part for part in parts if part in _SPLITS), "")
        names = [part for part in parts if part not in _SPLITS]
        if not names:
            raise ExportError(
                f"{path} is in no folder of a class: move it into one, named after what it shows"
            )
        source = "/".join(names[:-1]) or folder.resolve().name
        pictures.append(LabelledPicture(path, f"{source}/{names[-1]}", split))
    if not any(picture.split for picture in pictures):
        pictures = _hold_out(pictures)
    found = LabelledDataset(folder, tuple(p for p in pictures if p.split))
    train, val = found.split("train"), found.split("val")
    if len(train.labels) < 2 or not len(val):
        raise ExportError(
            f"{folder} has {len(train)} training pictures of {len(train.labels)} classes and {len(val)} val pictures:"
            " expected a folder for each of two or more classes, in SOURCE/train and SOURCE/val or side by side"
        )
    if unseen := sorted(set(val.labels) - set(train.labels)):
        raise ExportError(
            f"{folder}: {unseen[0]} has val pictures and no training pictures: add some, or remove it"
        )
    return found


def _hold_out(pictures: list[LabelledPicture]) -> list[LabelledPicture]:
    seen: dict[str, int] = {}
    held = []
    for picture in pictures:
        number = seen[picture.label] = seen.get(picture.label, 0) + 1
        held.append(LabelledPicture(picture.path, picture.label, "train" if number % VAL_EVERY else "val"))
    return held
