"""Measure a bundle on captioned pictures: which captions, which embeddings, and what came of it."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer.bundle import Bundle
from itl_infer.captions import CaptionDataset, PictureNames, Skipped, describe_faults, match_captions
from itl_infer.errors import CaptionsError
from itl_infer.evaluation.metrics import DIRECTIONS, Figures, format_figures, measure_ranks, retrieval_ranks
from itl_infer.index import Index
from itl_infer.index.roots import real_path

EVERY_SPLIT = "all"


@dataclass(frozen=True)
class CaptionRank:
    """Where a caption, taken as a query, finds its own picture."""

    rank: int  # from 1
    image: str
    caption: str


@dataclass(frozen=True)
class Evaluation:
    """What a bundle makes of `dataset`, the pictures of one split; `figures` as `metrics.measure_ranks` gives them."""

    bundle_name: str
    bundle_fingerprint: str
    dataset: CaptionDataset
    split: str
    figures: Figures
    ranks: tuple[CaptionRank, ...]  # in the order of the captions
    faults: tuple[Skipped, ...]  # left out, and captions without a known word, which are not
    notes: tuple[str, ...] = ()

    @property
    def recalls(self) -> Figures:
        """Of the figures the plain ones, both ways."""
        return {way: self.figures[way] for way in DIRECTIONS}

    def to_json(self) -> dict[str, Any]:
        """Plain values: what was measured, the figures both ways, and the rank of every caption."""
        report = self.dataset.report
        return {
            "bundle": {"name": self.bundle_name, "fingerprint": self.bundle_fingerprint},
            "captions_file": report.captions and str(report.captions),
            "format": report.format,
            "split": self.split,
            "split_name": report.split_name,
            "split_sha256": self.dataset.split_sha256,
            "pictures": len(self.dataset),
            "captions": len(self.ranks),
            "faults": dict(Counter(fault.reason for fault in self.faults)),
            **self.figures,
            "ranks": [
                {"rank": found.rank, "image": found.image, "caption": found.caption} for found in self.ranks
            ],
        }

    def to_table(self) -> str:
        """The figures for people, with what they are figures of."""
        return (
            f"bundle {self.bundle_name} ({self.bundle_fingerprint[:12]}) on {self.dataset.name}, {self.split}"
            f" (split {self.dataset.split_sha256[:12]}): {len(self.dataset):,} pictures,"
            f" {len(self.ranks):,} captions\n{format_figures(self.figures)}"
        )

    def describe_faults(self) -> list[str]:
        """What was left out or is not as it should be, as lines for people; each fault with its first places."""
        return [*(f"  note: {note}" for note in self.notes), *describe_faults(self.faults)]

    def write_ranks(self, path: str | os.PathLike[str]) -> None:
        """The rank of every caption as CSV in UTF-8 (but for names that are not): columns rank, image, caption."""
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["rank", "image", "caption"])
        writer.writerows((found.rank, found.image, found.caption) for found in self.ranks)
        partial = Path(f"{os.fspath(path)}.part")
        partial.write_bytes(os.fsencode(lines.getvalue()))
        partial.replace(path)


def evaluate_index(
    captions: str | os.PathLike[str],
    index: Index,
    *,
    images: str | os.PathLike[str] | None = None,
    splits: str | os.PathLike[str] | None = None,
    split: str = "test",
    seed: int = 0,
) -> Evaluation:
    """Measure the bundle of `index` on the captioned pictures of one split that the index holds.

    `captions`, `splits` and `seed` as `captions.read_captions` takes them; `split` is train, val, test or all.
    Pictures are found by their paths: those under the folder `images`, by default those that lie with the
    captions, or else all. Only the captioned pictures of the split are ranked, whatever else the index holds,
    so that figures compare with those of others. Raises CaptionsError where nothing is left to measure, and
    IndexStoreError where the index was opened without a bundle.
    """
    captions = Path(captions)
    bundle = index.require_bundle()
    pictures, rows = _pictures_of(index, captions, None if images is None else Path(images))
    dataset = match_captions(captions, pictures, None if splits is None else Path(splits), seed)
    dataset = choose_split(dataset, split)
    embeddings = index.embeddings[[rows[example.image] for example in dataset]]
    return evaluate_embeddings(bundle, dataset, split, embeddings)


def choose_split(dataset: CaptionDataset, split: str) -> CaptionDataset:
    """The pictures of a split, or of all; CaptionsError where there are none."""
    chosen = dataset if split == EVERY_SPLIT else dataset.split(split)
    if not len(chosen):
        missing = [skipped for skipped in chosen.report.skipped if skipped.split == split]
        first = f" (left out {len(missing):,}: first, {missing[0]})" if missing else ""
        raise CaptionsError(
            f"{dataset.report.captions or dataset.name} has no {split} pictures among the {len(dataset):,}"
            f" found{first}: choose another --split, or --split {EVERY_SPLIT}"
        )
    return chosen


def evaluate_embeddings(
    bundle: Bundle, dataset: CaptionDataset, split: str, image_embeddings: npt.NDArray[np.float32]
) -> Evaluation:
    """Measure `bundle` on all of `dataset`, whose pictures have the unit rows `image_embeddings` (N, D).

    Captions without a known word count like any other, and are among the `faults`.
    """
    ids = {caption: bundle.parse_text(caption).ids for caption in dataset.captions}
    text_embeddings = bundle.embed_ids([ids[caption] for caption in dataset.captions])
    owners = dataset.caption_owners
    t2i, i2t = retrieval_ranks(text_embeddings, image_embeddings, owners)
    images = [dataset.examples[owner].image for owner in owners]
    trained_on = bundle.manifest.get("training", {}).get("data", {}).get("splits", {})
    notes = [*dataset.report.notes]
    if trained_on.get("train", {}).get("ids_sha256") == dataset.split_sha256:
        notes.append("these are the pictures that the bundle was trained on")
    return Evaluation(
        bundle.name,
        bundle.fingerprint,
        dataset,
        split,
        measure_ranks(t2i, i2t, owners),
        tuple(map(CaptionRank, (t2i + 1).tolist(), images, dataset.captions)),
        (*dataset.report.skipped, *dataset.captions_without_words(lambda caption: bool(ids[caption]))),
        tuple(notes),
    )


def _pictures_of(index: Index, captions: Path, images: Path | None) -> tuple[PictureNames, dict[str, int]]:
    """The pictures that captions can mean, and the row of each in the index by its name."""
    paths = index.paths[:]
    folder = real_path(images or (captions if captions.is_dir() else captions.parent))
    rows = _rows_under(folder, paths)
    if not rows and images is None and paths:
        folder = _common_folder(paths, index)
        rows = _rows_under(folder, paths)
    pictures = PictureNames(
        folder,
        sorted(rows),
        place=str(index.path) if images is None else f"{images} in {index.path}",
        absent="not in the index",
        mend=f"embed them: itl-infer embed-images {images or 'PICTURES'} -d {index.path}",
    )
    if not rows:
        raise CaptionsError(f"{pictures.place}: no pictures there; {pictures.mend}")
    return pictures, rows


def _rows_under(folder: Path, paths: list[str]) -> dict[str, int]:
    start = os.path.join(folder, "")  # noqa: PTH118 (for the separator at its end)
    return {
        path[len(start) :].replace(os.sep, "/"): row
        for row, path in enumerate(paths)
        if path.startswith(start)
    }


def _common_folder(paths: list[str], index: Index) -> Path:
    try:
        return Path(os.path.commonpath([os.path.dirname(path) for path in paths]))  # noqa: PTH120 (for speed)
    except ValueError as error:
        raise CaptionsError(
            f"{index.path}: pictures on several drives: name the folder of those with captions, --images"
        ) from error
