"""Measures what carried words find: each name of labelled pictures as it is known, and as if it was not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.bundle.carry import pictured_names
from export.data.carried import Carrier, Sources
from export.errors import ExportError
from export.report import Reporter
from itl_infer.bundle import load_bundle
from itl_infer.captions.pictures import pictures_in
from itl_infer.evaluation.labels import read_labels, require_labels
from itl_infer.evaluation.pictures import embed_pictures, folder_of
from itl_infer.evaluation.places import average_precision, chance_of_places, places_of_right
from itl_infer.text.carried import Meaning


@dataclass(frozen=True)
class CarriedName:
    """A name, and the average precision of what it finds."""

    name: str
    pictures: int
    meanings: tuple[Meaning, ...]  # what it is read as without its own stem
    known: float
    carried: float  # 0 where nothing is near
    chance: float


def measure_carried(
    folder: Path, labelled: Path, images: Path | None, sources: Sources, reporter: Reporter
) -> list[CarriedName]:
    """Of each name in `labelled` that is one word which the bundle in `folder` knows, as if this one was unknown.

    `labelled` and `images` are as for `evaluate_labelled`. Raises ExportError where there is no such name.
    """
    bundle = load_bundle(folder)
    require_labels(labelled)
    pictures = pictures_in(images or folder_of(labelled))
    labels = read_labels(labelled, pictures)
    reporter.say(
        f"Embedding {len(labels.pictures):,} pictures, and reading the names without their own words"
    )
    paths = {str(pictures.folder / picture): picture for picture in labels.pictures}
    embeddings, failed = embed_pictures(
        bundle, [Path(path) for path in paths], lambda state: reporter.progress(state.done, state.total)
    )
    labels = labels.without({paths[path]: reason for path, reason in failed.items()})
    row = {picture: number for number, picture in enumerate(labels.pictures)}
    processor = bundle.text_processor()
    carrier = Carrier(processor, pictured_names(), sources)
    id_of = {stem: number for number, stem in enumerate(processor.stems, start=1)}
    found = []
    for name, right in labels.pictures_of.items():
        word = name.replace("_", " ").lower()
        ids = carrier.known_ids(word)
        if len(ids) != 1 or " " in word:
            continue
        meanings = carrier.meanings(word, without=ids)
        weights = {id_of[stem]: weight for stems, weight in meanings for stem in stems}
        texts = bundle.embed_ids([ids, weights] if weights else [ids])
        rows = np.array([row[picture] for picture in right])
        places = places_of_right(texts, embeddings, [rows] * len(texts))
        known, carried = [*map(average_precision, places), 0.0][:2]
        chance = float(chance_of_places(np.array([len(right)]), len(row))[0, 0])
        found.append(CarriedName(name, len(right), tuple(meanings), known, carried, chance))
    if not found:
        raise ExportError(f"{labelled}: none of its names is one word that {bundle.name} knows: name others")
    return found


def format_carried_names(names: list[CarriedName]) -> str:
    """A Markdown table of names, and the means below."""
    lines = ["| name | pictures | read as | carried | known |", "|---|---:|---|---:|---:|"]
    for name in sorted(names, key=lambda one: -one.carried):
        read_as = ", ".join(f"{' '.join(stems)} {weight:.2f}" for stems, weight in name.meanings)
        lines.append(f"| {name.name} | {name.pictures} | {read_as} | {name.carried:.2f} | {name.known:.2f} |")
    carried, known, chance = (
        np.mean([getattr(name, figure) for name in names]) for figure in ("carried", "known", "chance")
    )
    lines.append(
        f"\n{len(names)} names of one word, mAP: unknown {chance:.3f} (by chance), carried {carried:.3f},"
        f" known {known:.3f}"
    )
    return "\n".join(lines)
