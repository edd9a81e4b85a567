"""Captioned pictures: what every part of the training side takes, and how they are read from disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from export.errors import ExportError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class CaptionedImage:
    """One picture and everything people said of it. `image` is relative to the data set's folder."""

    image: str
    captions: tuple[str, ...]
    split: str
    extra: dict[str, object] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class CaptionDataset:
    """Captioned pictures of one folder, in a fixed order; any number of captions a picture, at least one."""

    name: str
    folder: Path
    examples: tuple[CaptionedImage, ...]

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[CaptionedImage]:
        return iter(self.examples)

    def split(self, name: str) -> CaptionDataset:
        return CaptionDataset(self.name, self.folder, tuple(e for e in self.examples if e.split == name))

    @property
    def paths(self) -> list[Path]:
        return [self.folder / example.image for example in self.examples]

    @property
    def captions(self) -> list[str]:
        return [caption for example in self.examples for caption in example.captions]

    @property
    def caption_owners(self) -> list[int]:
        """For each of `captions`, the position of its picture."""
        return [i for i, example in enumerate(self.examples) for _ in example.captions]

    @property
    def ids_sha256(self) -> str:
        """Tells two splits apart: a hash over the picture names in order."""
        return hashlib.sha256("\n".join(e.image for e in self.examples).encode()).hexdigest()


def read_json_lines(path: Path, *, name: str | None = None) -> CaptionDataset:
    """One picture a line: `{"image", "captions": [...], "split"?}`, images relative to the file's folder.

    Further keys are kept in `extra`. Raises ExportError naming the line.
    """
    if not path.is_file():
        raise ExportError(f"no captions file at {path}: give the path of a .jsonl file")
    examples: list[CaptionedImage] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                examples.append(_example(line, f"{path}:{number}"))
    names = {example.image for example in examples}
    if len(names) < len(examples):
        raise ExportError(f"{path}: {len(examples) - len(names)} pictures are listed twice: name each once")
    if not examples:
        raise ExportError(f'{path} is empty: expected lines of {{"image": ..., "captions": [...]}}')
    return CaptionDataset(name or path.parent.name, path.parent, tuple(examples))


def _example(line: str, where: str) -> CaptionedImage:
    try:
        row = json.loads(line)
        image, captions, split = row.pop("image"), row.pop("captions"), row.pop("split", "train")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ExportError(f'{where}: expected {{"image": ..., "captions": [...]}}, found {line[:60]!r}') from error
    if not isinstance(image, str) or not isinstance(captions, list) or not captions:
        raise ExportError(f"{where}: image must be a name and captions a list of at least one text")
    if not all(isinstance(caption, str) and caption.strip() for caption in captions):
        raise ExportError(f"{where}: {image} has an empty caption: remove it")
    if split not in SPLITS:
        raise ExportError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}")
    return CaptionedImage(image, tuple(captions), split, row)
