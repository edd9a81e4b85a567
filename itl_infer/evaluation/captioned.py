"""Measure a bundle on captioned pictures: which captions, which embeddings, and what came of it."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itl_infer.arguments import (
    require_bundle,
    require_callables,
    require_instance,
    require_path,
    require_text,
    require_whole,
)
from itl_infer.bundle import Bundle
from itl_infer.captions import CaptionDataset, match_captions, read_captions
from itl_infer.errors import CaptionsError
from itl_infer.evaluation.metrics import (
    DIRECTIONS,
    Figures,
    Floats,
    format_figures,
    measure_ranks,
    retrieval_ranks,
)
from itl_infer.evaluation.pictures import ShowProgress, embed_pictures, pictures_in_index
from itl_infer.evaluation.report import Measured
from itl_infer.files import replacing
from itl_infer.index import Index

EVERY_SPLIT = "all"


@dataclass(frozen=True)
class CaptionRank:
    """Where a caption, taken as a query, finds its own picture."""

    rank: int  # from 1
    image: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Evaluation(Measured):
    """What a bundle makes of `dataset`, the pictures of one split; `figures` as `metrics.measure_ranks` gives them.

    Its `faults` are what was left out, and the captions without a known word, which are not.
    """

    dataset: CaptionDataset
    split: str
    ranks: tuple[CaptionRank, ...]  # in the order of the captions

    @property
    def recalls(self) -> Figures:
        """Of the figures the plain ones, both ways."""
        return {way: self.figures[way] for way in DIRECTIONS}

    def summary(self) -> dict[str, Any]:
        """What a manifest keeps: of which pictures, and the figures both ways; no path."""
        return {
            "data": self.dataset.name,
            "split": self.split,
            "split_sha256": self.dataset.split_sha256,
            "pictures": len(self.dataset),
            "captions": len(self.ranks),
            **self.figures,
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values: what was measured, the figures both ways, and the rank of every caption."""
        report = self.dataset.report
        return {
            **self.json_head(),
            "captions_file": report.captions and str(report.captions),
            "format": report.format,
            "split_name": report.split_name,
            **self.summary(),
            "ranks": [
                {"rank": found.rank, "image": found.image, "caption": found.caption} for found in self.ranks
            ],
        }

    def to_table(self) -> str:
        """The figures for people, with what they are figures of."""
        return (
            f"{self.bundle} on {self.dataset.name}, {self.split}"
            f" (split {self.dataset.split_sha256[:12]}): {len(self.dataset):,} pictures,"
            f" {len(self.ranks):,} captions\n{format_figures(self.figures)}"
        )

    def write_ranks(self, path: str | os.PathLike[str]) -> None:
        """The rank of every caption as CSV in UTF-8 (but for names that are not): columns rank, image, caption."""
        require_path("path", path)
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["rank", "image", "caption"])
        writer.writerows((found.rank, found.image, found.caption) for found in self.ranks)
        with replacing(Path(path)) as file:
            file.write(os.fsencode(lines.getvalue()))


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
    require_instance("index", index, Index, "an index, as Index.open() gives it")
    bundle = index.require_bundle()
    dataset, embeddings = captioned_rows(
        captions, index, images=images, splits=splits, split=split, seed=seed
    )
    return evaluate_embeddings(bundle, dataset, split, embeddings)


def captioned_rows(
    captions: str | os.PathLike[str],
    source: Bundle | Index,
    *,
    images: str | os.PathLike[str] | None = None,
    splits: str | os.PathLike[str] | None = None,
    split: str = "test",
    seed: int = 0,
    progress: ShowProgress | None = None,
) -> tuple[CaptionDataset, Floats]:
    """The captioned pictures of one split that an index holds, or that a bundle embeds, and their unit rows (N, D)."""
    for name, path in (("captions", captions), ("images", images), ("splits", splits)):
        if path is not None or name == "captions":
            require_path(name, path)
    require_text("split", split)
    seed = require_whole("seed", seed)
    require_callables(progress=progress)
    captions = Path(captions)
    if isinstance(source, Index):
        pictures, rows = pictures_in_index(source, captions, _path(images))
        dataset = choose_split(match_captions(captions, pictures, _path(splits), seed), split)
        return dataset, source.embeddings[[rows[example.image] for example in dataset]]
    dataset = choose_split(read_captions(captions, _path(images), _path(splits), seed), split)
    embeddings, failed = embed_pictures(source, dataset.paths, progress)
    return dataset.without(failed), embeddings


def evaluate_bundle(
    captions: str | os.PathLike[str],
    bundle: Bundle,
    *,
    images: str | os.PathLike[str] | None = None,
    splits: str | os.PathLike[str] | None = None,
    split: str = "test",
    seed: int = 0,
    progress: ShowProgress | None = None,
) -> Evaluation:
    """Measure `bundle` on the captioned pictures of one split, without an index: they are embedded for it.

    As `evaluate_index`, but pictures are those in the folder `images`, by default where the captions are. Those that
    cannot be read are among the `faults`. `progress` is called after every few pictures.
    """
    require_bundle(bundle)
    dataset, embeddings = captioned_rows(
        captions, bundle, images=images, splits=splits, split=split, seed=seed, progress=progress
    )
    return evaluate_embeddings(bundle, dataset, split, embeddings)


def evaluate_dataset(
    bundle: Bundle, dataset: CaptionDataset, split: str, progress: ShowProgress | None = None
) -> Evaluation:
    """Measure `bundle` on all readable pictures of `dataset`, those of `split`, which are embedded for it."""
    embeddings, failed = embed_pictures(bundle, dataset.paths, progress)
    return evaluate_embeddings(bundle, dataset.without(failed), split, embeddings)


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
    bundle: Bundle, dataset: CaptionDataset, split: str, image_embeddings: Floats
) -> Evaluation:
    """Measure `bundle` on all of `dataset`, whose pictures have the unit rows `image_embeddings` (N, D).

    Captions without a known word count like any other, and are among the `faults`.
    """
    ids = {caption: bundle.parse_text(caption).weighted_ids for caption in dataset.captions}
    text_embeddings = bundle.embed_ids([ids[caption] for caption in dataset.captions])
    owners = dataset.caption_owners
    t2i, i2t = retrieval_ranks(text_embeddings, image_embeddings, owners)
    images = [dataset.examples[owner].image for owner in owners]
    trained_on = bundle.manifest.get("training", {}).get("data", {}).get("splits", {})
    notes = [*dataset.report.notes]
    if trained_on.get("train", {}).get("ids_sha256") == dataset.split_sha256:
        notes.append("these are the pictures that the bundle was trained on")
    return Evaluation(
        bundle_name=bundle.name,
        bundle_fingerprint=bundle.fingerprint,
        figures=measure_ranks(t2i, i2t, owners),
        faults=(
            *dataset.report.skipped,
            *dataset.captions_without_words(lambda caption: bool(ids[caption])),
        ),
        notes=tuple(notes),
        dataset=dataset,
        split=split,
        ranks=tuple(map(CaptionRank, (t2i + 1).tolist(), images, dataset.captions)),
    )


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)
