"""Captioned pictures as training and evaluation take them, and the report of how they were read."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from itl_infer.image import IMAGE_SUFFIXES

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class CaptionedImage:
    """One picture and everything people said of it. `image` is relative to the data set's folder."""

    image: str
    captions: tuple[str, ...]
    split: str
    extra: dict[str, object] = field(default_factory=dict, compare=False)
    places: tuple[str, ...] = field(default=(), compare=False)  # of each caption, "FILE:LINE", where known


@dataclass(frozen=True)
class Skipped:
    """Something that was left out of a data set."""

    where: str  # "FILE:LINE", or "FILE: images[3]" where lines mean nothing
    what: str  # the name there, or how the line begins
    reason: str  # the same words for the same fault, so that faults can be counted
    split: str | None = None  # of the picture, where it has one

    def __str__(self) -> str:
        return f"{self.where}: {one_line(self.what)}: {self.reason}"


@dataclass(frozen=True)
class CaptionsReport:
    """Where a data set came from, and what of it was left out."""

    captions: Path | None = None
    format: str = ""
    split_name: str = ""
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class CaptionDataset:
    """Captioned pictures of one folder, in a fixed order; any number of captions a picture, at least one."""

    name: str
    folder: Path
    examples: tuple[CaptionedImage, ...]
    report: CaptionsReport = field(default=CaptionsReport(), compare=False)

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[CaptionedImage]:
        return iter(self.examples)

    def split(self, name: str) -> CaptionDataset:
        """Its pictures, and of its report what is not of another split."""
        skipped = tuple(s for s in self.report.skipped if s.split in (None, name))
        examples = tuple(e for e in self.examples if e.split == name)
        return replace(self, examples=examples, report=replace(self.report, skipped=skipped))

    def without(self, failed: Mapping[str, str]) -> CaptionDataset:
        """All but the pictures at these paths, which are reported as skipped for the reasons given."""
        if not failed:
            return self
        examples, skipped = [], list(self.report.skipped)
        for example, path in zip(self.examples, map(str, self.paths), strict=True):
            if path in failed:
                skipped.append(Skipped(path, example.image, failed[path], example.split))
            else:
                examples.append(example)
        report = replace(self.report, skipped=tuple(skipped))
        return replace(self, examples=tuple(examples), report=report)

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

    def captions_without_words(self, knows: Callable[[str], bool]) -> list[Skipped]:
        """The captions of which `knows` says no, with their places; nothing is left out."""
        return [
            Skipped(place, f"{example.image}: {caption}", "caption without a known word", example.split)
            for example in self.examples
            for caption, place in zip(
                example.captions, example.places or (example.image,) * len(example.captions), strict=True
            )
            if not knows(caption)
        ]

    @property
    def ids_sha256(self) -> str:
        """A hash over the picture names in order: what arrays with one row a picture are made for."""
        return _sha256([e.image for e in self.examples])

    @property
    def split_sha256(self) -> str:
        """A hash over the pictures' ids: the same for the same split, whatever its folders and order."""
        return _sha256(sorted(picture_id(e.image) for e in self.examples))

    def summary(self) -> dict[str, object]:
        """What a bundle keeps of its data: counts, and the split by name and hash; no path."""
        parts = {name: self.split(name) for name in SPLITS}
        return {
            "name": self.name,
            "captions_file": self.report.captions.name if self.report.captions else None,
            "format": self.report.format,
            "split_name": self.report.split_name,
            "splits": {
                name: {
                    "pictures": len(part),
                    "captions": len(part.captions),
                    "ids_sha256": part.split_sha256,
                }
                for name, part in parts.items()
            },
            "skipped": dict(Counter(skipped.reason for skipped in self.report.skipped)),
        }

    def describe(self, *, examples: int = 3) -> str:
        """What was found and what was left out, for people; each fault with its first `examples` places."""
        report = self.report
        source = f", {report.format} {report.captions}" if report.captions else ""
        lines = [f"{self.name}: {len(self):,} pictures, {len(self.captions):,} captions{source}"]
        for name in SPLITS:
            part = self.split(name)
            lines.append(f"  {name:<5} {len(part):>9,} pictures {len(part.captions):>9,} captions")
        if report.split_name:
            lines.append(f"  splits from {report.split_name}")
        lines += [f"  note: {note}" for note in report.notes]
        return "\n".join([*lines, *describe_faults(report.skipped, "skipped ", examples=examples)])


def join_datasets(name: str, *parts: CaptionDataset) -> CaptionDataset:
    """The pictures of all parts, one after the other, as one data set; their folders need one folder above them."""
    folder = Path(os.path.commonpath([part.folder.resolve() for part in parts]))
    examples = tuple(
        replace(example, image=(part.folder.resolve() / example.image).relative_to(folder).as_posix())
        for part in parts
        for example in part
    )
    skipped = tuple(skipped for part in parts for skipped in part.report.skipped)
    return CaptionDataset(name, folder, examples, CaptionsReport(skipped=skipped))


def describe_faults(faults: Sequence[Skipped], verb: str = "", *, examples: int = 3) -> list[str]:
    """How often each fault was met, as indented lines, with its first `examples` places."""
    lines = []
    for reason, count in Counter(fault.reason for fault in faults).items():
        lines.append(f"  {verb}{count:,}: {reason}")
        same = [fault for fault in faults if fault.reason == reason]
        lines += [f"    {fault.where}: {one_line(fault.what)}" for fault in same[:examples]]
        if count > examples:
            lines.append(f"    and {count - examples:,} more")
    return lines


def picture_id(name: str) -> str:
    """A picture's name without folders and picture suffix: what split files call it."""
    return PurePosixPath(without_suffix(name)).name


def without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else str(path)


def one_line(text: str, width: int = 80) -> str:
    """Text of unknown origin, fit to be part of a message."""
    text = " ".join(text.split())
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= width else text[: width - 3] + "..."


def _sha256(names: list[str]) -> str:
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
