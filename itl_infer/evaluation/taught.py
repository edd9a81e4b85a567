"""Measure names that are taught: how well a few examples find the rest of a class, and what marks do for a query."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer.bundle import Bundle
from itl_infer.captions import CaptionDataset, Skipped
from itl_infer.evaluation.captioned import captioned_rows
from itl_infer.evaluation.labelled import labelled_rows
from itl_infer.evaluation.metrics import Floats
from itl_infer.evaluation.pictures import ShowProgress
from itl_infer.evaluation.places import average_precision, places_of_right
from itl_infer.evaluation.report import Measured
from itl_infer.evaluation.tables import align, percent
from itl_infer.index import Index
from itl_infer.teaching import Moments, direction, mark, sum_of

EXAMPLES = (1, 3, 5, 10, 20)
DRAWS = 5
QUERIES = 60  # of the classes with the most pictures, those whose names are asked for and marked
_FIRST, _MARKS, _SEEN = 10, 2, 20  # pictures that are looked at, marked of each kind, and counted
_OF_CAPTIONS = 3  # captions of a picture that must have the word of its class
# Things in Flickr8k's pictures, by their commonness in its test part.
NOUNS = """
    dog man boy woman girl water people ball child beach snow grass rock shirt mouth bike street dirt mountain swing
    skateboard player pool person basketball field snowboarder wave car soccer air table ski sunglasses football crowd
    group hat hand stick tennis frisbee surfer head skier boat wall building bench toy baby sand slide camera jacket
    ramp river bicycle helmet tree
"""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TaughtEvaluation(Measured):
    """What a few examples find. `figures`:

    "examples": for each number of them "classes" that have enough pictures, and mAP over the pictures that are no
    examples, "taught" and by the "mean_of_examples"; "words": mAP by the names of all classes, and how many are known;
    "marks": precision at 20 of the names, "before" and "after" two right and two wrong of the first ten were marked.
    """

    data: str
    pictures: int
    classes: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        head = {"data": self.data, "pictures": self.pictures, "classes": self.classes}
        return {**self.json_head(), **head, **self.figures}

    def to_table(self) -> str:
        """The figures for people."""
        lines = [["examples", "classes", "mAP, taught", "mAP, mean of the examples"]]
        for count, found in self.figures["examples"].items():
            row = [f"{found['classes']:,}", percent(found["taught"]), percent(found["mean_of_examples"])]
            lines.append([count, *row])
        words, marks = self.figures["words"], self.figures["marks"]
        before, after, rest_before, rest_after = (
            percent(marks[when]) for when in ("before", "after", "rest_before", "rest_after")
        )
        return "\n".join(
            [
                f"{self.bundle} on {self.data}: {self.pictures:,} pictures, {self.classes:,} classes",
                align(lines),
                f"mAP by the names in words: {percent(words['mean_average_precision'])} ({words['known']:,} known)",
                f"precision at {_SEEN} of {marks['queries']:,} names: {before}; with two right and two wrong of the"
                f" first {_FIRST} marked {after}; over pictures that were not marked {rest_before} and {rest_after}",
            ]
        )


def classes_of_captions(bundle: Bundle, dataset: CaptionDataset, nouns: str = NOUNS) -> dict[str, Rows]:
    """For each noun the pictures (rows of the dataset) of which three captions or more have it, in whatever form."""
    of_noun = {noun: bundle.parse_text(noun).ids for noun in nouns.split()}
    found: dict[str, list[int]] = {noun: [] for noun, ids in of_noun.items() if len(ids) == 1}
    for row, example in enumerate(dataset):
        said = Counter(number for text in example.captions for number in bundle.parse_text(text).ids)
        for noun, rows in found.items():
            if said[of_noun[noun][0]] >= _OF_CAPTIONS:
                rows.append(row)
    return {noun: np.array(rows, np.int64) for noun, rows in found.items() if rows}


def evaluate_taught_captions(
    captions: str | os.PathLike[str],
    source: Bundle | Index,
    *,
    progress: ShowProgress | None = None,
    draws: int = DRAWS,
    **options: Any,
) -> TaughtEvaluation:
    """Measure names taught from captioned pictures of one split: of each noun those that most of their captions name.

    `source` is a bundle, which embeds the pictures, or an index that holds them; `options` are those of
    `evaluate_bundle`, and so are the errors.
    """
    bundle = source.require_bundle() if isinstance(source, Index) else source
    dataset, embeddings = captioned_rows(captions, source, progress=progress, **options)
    classes = classes_of_captions(bundle, dataset)
    return measure_taught(
        bundle, classes, embeddings, dataset.name, draws=draws, faults=dataset.report.skipped
    )


def evaluate_taught_labels(
    labelled: str | os.PathLike[str],
    source: Bundle | Index,
    *,
    images: str | os.PathLike[str] | None = None,
    progress: ShowProgress | None = None,
    draws: int = DRAWS,
) -> TaughtEvaluation:
    """Measure names taught from labelled pictures, as `evaluate_labelled` takes them, from a bundle or an index."""
    bundle = source.require_bundle() if isinstance(source, Index) else source
    labels, embeddings, notes = labelled_rows(labelled, source, images=images, progress=progress)
    row = {picture: number for number, picture in enumerate(labels.pictures)}
    classes = {
        name.replace("_", " "): np.array([row[picture] for picture in found], np.int64)
        for name, found in labels.pictures_of.items()
    }
    data = labels.path.resolve().name
    return measure_taught(bundle, classes, embeddings, data, draws=draws, notes=notes, faults=labels.skipped)


def measure_taught(
    bundle: Bundle,
    classes: Mapping[str, Rows],
    embeddings: Floats,
    data: str,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    notes: tuple[str, ...] = (),
    faults: tuple[Skipped, ...] = (),
) -> TaughtEvaluation:
    """Measure names taught from the pictures of classes, rows of `embeddings` (N, D) of unit length.

    Examples are drawn anew `draws` times; what is ranked are all pictures but them, which no covariance is without.
    """
    among = Moments.of(embeddings)
    examples = {
        str(count): _from_examples(classes, embeddings, among, count, draws, seed) for count in EXAMPLES
    }
    figures = {
        "examples": {count: found for count, found in examples.items() if found["classes"]},
        "words": _by_words(bundle, classes, embeddings),
        "marks": _marked(bundle, classes, embeddings, among),
    }
    return TaughtEvaluation(
        bundle_name=bundle.name,
        bundle_fingerprint=bundle.fingerprint,
        figures=figures,
        faults=faults,
        notes=notes,
        data=data,
        pictures=len(embeddings),
        classes=len(classes),
    )


def _from_examples(
    classes: Mapping[str, Rows], embeddings: Floats, among: Moments, count: int, draws: int, seed: int
) -> dict[str, float]:
    """mAP from so many examples, over the classes that have a picture more."""
    taught, averaged, used = [], [], 0
    for number, rows in enumerate(classes.values()):
        if len(rows) <= count:
            continue
        used += 1
        rng = np.random.default_rng([seed, count, number])
        for _ in range(draws):
            chosen = rng.choice(rows, count, replace=False)
            left = np.setdiff1d(np.arange(len(embeddings)), chosen)
            right = np.searchsorted(left, np.setdiff1d(rows, chosen))
            positives = embeddings[chosen]
            mean = sum_of(np.ones(count, np.float32), positives)
            vectors = np.stack(
                [direction(positives, among, positives[:0]), positives[0] if mean is None else mean]
            )
            of_taught, of_mean = places_of_right(vectors, embeddings[left], [right, right])
            taught.append(average_precision(of_taught))
            averaged.append(average_precision(of_mean))
    return {"classes": used, "taught": _mean(taught), "mean_of_examples": _mean(averaged)}


def _by_words(bundle: Bundle, classes: Mapping[str, Rows], embeddings: Floats) -> dict[str, float]:
    """mAP of the names as queries in words; one of which no word is known is a miss."""
    known = [name for name in classes if bundle.parse_text(name).weighted_ids]
    places = places_of_right(_embed_words(bundle, known), embeddings, [classes[name] for name in known])
    total = sum(average_precision(of_name) for of_name in places)
    return {"mean_average_precision": round(total / max(1, len(classes)), 4), "known": len(known)}


def _marked(
    bundle: Bundle, classes: Mapping[str, Rows], embeddings: Floats, among: Moments
) -> dict[str, float]:
    """Precision at 20 of the names of the largest classes, before and after two of each kind were marked."""
    largest = sorted(classes, key=lambda name: -len(classes[name]))
    asked = [name for name in largest if bundle.parse_text(name).weighted_ids][:QUERIES]
    found: dict[str, list[float]] = {"before": [], "after": [], "rest_before": [], "rest_after": []}
    for name, text in zip(asked, _embed_words(bundle, asked), strict=True):
        is_right = np.zeros(len(embeddings), bool)
        is_right[classes[name]] = True
        first = np.argsort(-(embeddings @ text), kind="stable")[:_FIRST]
        like, unlike = first[is_right[first]][:_MARKS], first[~is_right[first]][:_MARKS]
        row, weight = mark(text, embeddings[like], embeddings[unlike], among)
        vector = sum_of(np.array([1, weight], np.float32), np.stack([text, row]))
        marked = np.concatenate([like, unlike])
        before, after = embeddings @ text, embeddings @ (text if vector is None else vector)
        after[unlike] = -np.inf  # as an answer has them: last
        for when, scores in (("before", before), ("after", after)):
            found[when].append(_precision(scores, is_right))
            found[f"rest_{when}"].append(_precision(np.delete(scores, marked), np.delete(is_right, marked)))
    return {"queries": len(asked), **{when: _mean(values) for when, values in found.items()}}


def _precision(scores: Floats, is_right: npt.NDArray[np.bool_]) -> float:
    return float(is_right[np.argsort(-scores, kind="stable")[:_SEEN]].mean())


def _embed_words(bundle: Bundle, names: Sequence[str]) -> Floats:
    return bundle.embed_ids([bundle.parse_text(name).weighted_ids for name in names])


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4) if values else 0.0
