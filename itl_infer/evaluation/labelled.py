"""Measure a bundle on labelled pictures: each name as a query, and the pictures that it is right for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itl_infer.arguments import require_bundle, require_callables, require_path
from itl_infer.bundle import Bundle
from itl_infer.captions.dataset import one_line
from itl_infer.captions.pictures import pictures_in
from itl_infer.errors import CaptionsError
from itl_infer.evaluation.labels import Labels, read_labels, require_labels
from itl_infer.evaluation.metrics import Floats
from itl_infer.evaluation.pictures import ShowProgress, embed_pictures, folder_of, pictures_in_index
from itl_infer.evaluation.places import average_precision, format_places, measure_places, places_of_right
from itl_infer.evaluation.report import Measured
from itl_infer.index import Index
from itl_infer.text import CarriedWord

_NAMED_UNKNOWN = 20  # in a table


@dataclass(frozen=True)
class NameResult:
    """What a name finds, taken as a query."""

    name: str
    pictures: int  # that it is right for
    known_words: tuple[str, ...]
    unknown_words: tuple[str, ...]
    average_precision: float  # 0 where no word is known
    first_rank: int | None  # of the first right picture, from 1; None where no word is known
    carried: tuple[CarriedWord, ...] = ()  # words that are read as known ones


@dataclass(frozen=True, kw_only=True)
class LabelledEvaluation(Measured):
    """What a bundle makes of labelled pictures; `figures` as `places.measure_places` gives them."""

    labels: Labels
    names: tuple[NameResult, ...]  # in the order of the labels

    @property
    def unknown_names(self) -> list[str]:
        """The names of which the bundle knows no word: they count as misses, 0 in every mean."""
        return [found.name for found in self.names if found.first_rank is None]

    def summary(self) -> dict[str, Any]:
        """What a manifest keeps: of how many pictures and names, and the figures; no path."""
        return {
            "data": self.labels.path.resolve().name,
            "pictures": len(self.labels.pictures),
            "queries": len(self.names),
            "unknown": len(self.unknown_names),
            **self.figures,
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values: what was measured, the figures, and what each name finds."""
        return {
            **self.json_head(),
            "labelled": str(self.labels.path),
            **self.summary(),
            "names": [
                {
                    "name": found.name,
                    "pictures": found.pictures,
                    "known_words": list(found.known_words),
                    "unknown_words": list(found.unknown_words),
                    **(
                        {"read_as": {word.word: word.stems for word in found.carried}}
                        if found.carried
                        else {}
                    ),
                    "average_precision": round(found.average_precision, 4),
                    "first_rank": found.first_rank,
                }
                for found in self.names
            ],
        }

    def to_table(self) -> str:
        """The figures for people, with what they are figures of."""
        unknown = self.unknown_names
        known = f" ({len(unknown):,} unknown, counted as misses)" if unknown else ""
        lines = [
            f"{self.bundle} on {self.labels.path.resolve().name}: {len(self.labels.pictures):,} pictures,"
            f" {len(self.names):,} names{known}",
            format_places(self.figures),
        ]
        if unknown:
            more = len(unknown) - _NAMED_UNKNOWN
            named = ", ".join(map(one_line, unknown[:_NAMED_UNKNOWN]))
            lines.append(f"unknown: {named}{f' and {more:,} more' if more > 0 else ''}")
        return "\n".join(lines)


def evaluate_labelled(
    labelled: str | os.PathLike[str],
    source: Bundle | Index,
    *,
    images: str | os.PathLike[str] | None = None,
    progress: ShowProgress | None = None,
) -> LabelledEvaluation:
    """Measure a bundle on labelled pictures, each name a query that is to find all of its pictures.

    `labelled` is a folder with a folder for each class, or a JSON file of names and lists of files in the folder
    `images`, by default its own; underscores in names are read as spaces. `source` is a bundle, which embeds the
    pictures (`progress` is called after every few), or an index that holds them. Ranked are the pictures that have a
    name, and no others. Pictures that are missing or cannot be read are left out, and among the `faults`.

    Raises CaptionsError where the labels cannot be used or no picture is left, and IndexStoreError where the index was
    opened without a bundle.
    """
    labels, embeddings, notes = labelled_rows(labelled, source, images=images, progress=progress)
    bundle = source.require_bundle() if isinstance(source, Index) else source
    return measure_labels(bundle, labels, embeddings, notes)


def labelled_rows(
    labelled: str | os.PathLike[str],
    source: Bundle | Index,
    *,
    images: str | os.PathLike[str] | None = None,
    progress: ShowProgress | None = None,
) -> tuple[Labels, Floats, tuple[str, ...]]:
    """What `evaluate_labelled` measures on: labels, the unit rows (N, D) of their pictures, and notes on these."""
    require_path("labelled", labelled)
    if images is not None:
        require_path("images", images)
    require_callables(progress=progress)
    if not isinstance(source, Index):
        require_bundle(source, "source")
    labelled, images = Path(labelled), None if images is None else Path(images)
    require_labels(labelled)
    if images is not None and labelled.is_dir():
        raise CaptionsError(
            f"{labelled}: a folder of classes holds its pictures: leave --images {images} out"
        )
    if isinstance(source, Index):
        pictures, rows = pictures_in_index(source, labelled, images)
        labels = read_labels(labelled, pictures)
        return labels, source.embeddings[[rows[picture] for picture in labels.pictures]], pictures.problems
    pictures = pictures_in(images or folder_of(labelled))
    labels = read_labels(labelled, pictures)
    paths = {str(pictures.folder / picture): picture for picture in labels.pictures}
    embeddings, failed = embed_pictures(source, [Path(path) for path in paths], progress)
    labels = labels.without({paths[path]: reason for path, reason in failed.items()})
    return labels, embeddings, pictures.problems


def measure_labels(
    bundle: Bundle, labels: Labels, image_embeddings: Floats, notes: tuple[str, ...] = ()
) -> LabelledEvaluation:
    """Measure `bundle` on `labels`, whose `pictures` have the unit rows `image_embeddings` (N, D)."""
    row = {picture: number for number, picture in enumerate(labels.pictures)}
    right = [np.array([row[picture] for picture in found]) for found in labels.pictures_of.values()]
    parsed = [bundle.parse_text(name.replace("_", " ")) for name in labels.pictures_of]
    asked = [number for number, text in enumerate(parsed) if text.weighted_ids]
    texts = bundle.embed_ids([parsed[number].weighted_ids for number in asked])
    found = dict(zip(asked, places_of_right(texts, image_embeddings, [right[n] for n in asked]), strict=True))
    places = [found.get(number) for number in range(len(parsed))]
    names = tuple(
        NameResult(
            name,
            len(labels.pictures_of[name]),
            text.used_words,
            text.unknown_words,
            0.0 if of_name is None else average_precision(of_name),
            None if of_name is None else int(of_name[0]),
            text.carried,
        )
        for name, text, of_name in zip(labels.pictures_of, parsed, places, strict=True)
    )
    return LabelledEvaluation(
        bundle_name=bundle.name,
        bundle_fingerprint=bundle.fingerprint,
        figures=measure_places(places, np.array([len(rows) for rows in right]), len(row)),
        faults=labels.skipped,
        notes=notes,
        labels=labels,
        names=names,
    )
