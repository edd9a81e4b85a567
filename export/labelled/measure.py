"""Measures a bundle on labelled photographs: what plain queries for classes and kinds find, and what is said of each.

Chance is the share of the pictures that are right: what a shuffled list would give, on average.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import ExportError
from export.labelled.folders import LabelledDataset
from export.labelled.lexicon import Lexicon
from export.report import Reporter
from itl_infer.bundle import Bundle
from itl_infer.decoding import decode_ahead
from itl_infer.evaluation.metrics import average_precision
from itl_infer.ranking import rank

PRECISION_AT = 10
Figures = dict[str, Any]


def measure_labelled(
    bundle: Bundle, dataset: LabelledDataset, lexicon: Lexicon, reporter: Reporter
) -> Figures:
    """Figures on the val pictures of `dataset`, by "classes", "captions" and "kinds"; shares between 0 and 1.

    classes: a plain query for each class, ranked over all val pictures. captions: which class caption is nearest to a
    picture, of all. kinds: a query for each kind of thing, against the pictures of all classes under it. Classes that
    are called the same (volleyball as a thing and as a sport) are one.
    """
    val = dataset.split("val")
    reporter.say(f"Measuring {bundle.name} on {len(val):,} photographs of {len(val.labels)} classes")
    images = _embed(bundle, [picture.path for picture in val], reporter)
    labels = np.array([picture.label for picture in val])
    queries = {label: lexicon.entry_for(label).plain for label in val.labels}
    stems = {label: bundle.parse_text(query).ids for label, query in queries.items()}
    if unknown := [queries[label] for label in val.labels if not stems[label]]:
        raise ExportError(f"the bundle knows no word of {unknown[0]!r}, the plain name of a class")
    alike = {
        label: [other for other in val.labels if set(stems[other]) == set(stems[label])]
        for label in val.labels
    }
    texts = bundle.embed_texts([queries[label] for label in val.labels])
    relevant = np.stack([np.isin(labels, alike[label]) for label in val.labels])
    by_class = _retrieval(texts, images, relevant)
    sources = np.array([label.partition("/")[0] for label in val.labels])
    classes = {name: _mean(by_class, sources == name) for name in np.unique(sources)}

    places = _places_of_right_caption(images @ texts.T, relevant.T)
    picture_sources = np.array([picture.source for picture in val])
    captions = {
        name: _tops(places[picture_sources == name], len(texts)) for name in np.unique(picture_sources)
    }

    kinds = {kind: sorted(found) for kind, found in lexicon.kinds.items() if bundle.parse_text(kind).ids}
    relevant = np.stack([np.isin(labels, found) for found in kinds.values()])
    by_kind = _retrieval(bundle.embed_texts([*kinds]), images, relevant)
    shown = relevant.any(axis=1)
    return {
        "pictures": len(val),
        "classes": {"all": _mean(by_class, np.full(len(sources), True)), **classes},
        "captions": {"all": _tops(places, len(texts)), **captions},
        "kinds": {
            "all": _mean(by_kind, shown),
            **{kind: _mean(by_kind, np.arange(len(kinds)) == i) for i, kind in enumerate(kinds) if shown[i]},
        },
    }


def read_objects(path: Path) -> dict[str, list[str]]:
    """A JSON file of object names with the names of the pictures that show them. Raises ExportError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} cannot be read ({error}): give a JSON file") from error
    if not isinstance(content, dict) or not all(
        isinstance(files, list) and all(isinstance(file, str) for file in files) for files in content.values()
    ):
        raise ExportError(f'{path}: expected {{"name of an object": ["file.jpg", ...], ...}}')
    return content


def measure_objects(
    bundle: Bundle, folder: Path, objects: Mapping[str, Iterable[str]], reporter: Reporter
) -> Figures:
    """Figures of a query for each object, over all pictures that any object is in; names the bundle knows whole.

    `objects`: name -> names of the pictures in `folder` that show it.
    """
    names = sorted({name for found in objects.values() for name in found})
    parsed = {name: bundle.parse_text(name) for name in objects}
    known = [name for name, query in parsed.items() if query.ids and not query.unknown_words]
    if not known:
        raise ExportError(f"the bundle {bundle.name} knows none of the objects in {folder}")
    reporter.say(f"Measuring {bundle.name} on {len(names)} photographs and {len(known)} objects")
    images = _embed(bundle, [folder / name for name in names], reporter)
    relevant = np.stack([np.isin(names, list(objects[name])) for name in known])
    figures = _retrieval(bundle.embed_texts(known), images, relevant)
    return {
        "pictures": len(names),
        "known": known,
        "unknown": sorted({*objects} - {*known}),
        **_mean(figures, np.full(len(known), True)),
    }


def _embed(bundle: Bundle, paths: list[Path], reporter: Reporter) -> npt.NDArray[np.float32]:
    embeddings = []
    done = 0
    for pixels in decode_ahead(paths, bundle.image_rules):
        embeddings.append(bundle.embed_pixels(pixels))
        done += len(pixels)
        reporter.progress(done, len(paths))
    return np.concatenate(embeddings)


def _retrieval(
    texts: npt.NDArray[np.float32], images: npt.NDArray[np.float32], relevant: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[np.float64]]:
    """Figures of each query: `relevant` (Q, N) says which pictures it means.

    `precision` is that of the first ten, or of as many as there are if these are fewer, so that 1 can be reached.
    """
    order, _ = rank(texts, images, k=len(images))
    hits = np.take_along_axis(relevant, order, axis=1)
    counts = hits.sum(axis=1)
    asked = np.minimum(np.maximum(counts, 1), PRECISION_AT)
    first = np.cumsum(hits, axis=1)[np.arange(len(hits)), asked - 1]
    return {
        "precision": first / asked,
        "precision_at_10": hits[:, :PRECISION_AT].sum(axis=1) / PRECISION_AT,
        "average_precision": average_precision(hits),
        "chance": counts / hits.shape[1],
    }


def _mean(figures: dict[str, npt.NDArray[np.float64]], chosen: npt.NDArray[np.bool_]) -> Figures:
    means = {name: round(float(values[chosen].mean()), 4) for name, values in figures.items()}
    return {"queries": int(chosen.sum()), **means}


def _places_of_right_caption(
    scores: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """(N,) from 1: how many captions (N, C) of other classes score as high as the best right one, plus that one."""
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    places: npt.NDArray[np.int64] = (~right & (scores >= best)).sum(axis=1) + 1
    return places


def _tops(places: npt.NDArray[np.int64], captions: int) -> Figures:
    return {
        "pictures": len(places),
        "top1": round(float((places <= 1).mean()), 4),
        "top5": round(float((places <= 5).mean()), 4),
        "chance1": round(1 / captions, 4),
        "chance5": round(min(1, 5 / captions), 4),
    }


def format_measured(figures: Mapping[str, Figures]) -> str:
    """Markdown tables of what was measured, by name ("int8", "float32"), side by side."""
    names = [*figures]

    def cell(*path: str) -> str:
        """Per cent, of each of the names."""
        values = []
        for name in names:
            value: Any = figures[name]
            for key in path:
                value = value[key]
            values.append(f"{100 * value:.1f}")
        return " / ".join(values)

    first = figures[names[0]]
    lines = [f"In per cent{', ' + ' / '.join(names) if len(names) > 1 else ''}; by chance in brackets."]
    if "classes" in first:
        lines += [
            "",
            "| a plain query for each class | queries | precision at 10 | of as many as there are | mAP |",
            "|---|---|---|---|---|",
        ]
        for source, row in first["classes"].items():
            at_10, precision, ap = (
                cell("classes", source, key) for key in ("precision_at_10", "precision", "average_precision")
            )
            chance = f"({100 * row['chance']:.1f})"
            lines.append(f"| {source} | {row['queries']} | {at_10} {chance} | {precision} | {ap} |")
        lines += ["", "| the right caption of all classes | pictures | top-1 | top-5 |", "|---|---|---|---|"]
        for source, row in first["captions"].items():
            tops = [f"{cell('captions', source, f'top{n}')} ({100 * row[f'chance{n}']:.1f})" for n in (1, 5)]
            lines.append(f"| {source} | {row['pictures']:,} | {' | '.join(tops)} |")
        lines += ["", "| a query for each kind | precision at 10 | mAP |", "|---|---|---|"]
        for kind, row in first["kinds"].items():
            shown = f"all {row['queries']}" if kind == "all" else kind
            at_10, ap = (cell("kinds", kind, key) for key in ("precision_at_10", "average_precision"))
            lines.append(f"| {shown} | {at_10} ({100 * row['chance']:.1f}) | {ap} |")
    if "objects" in first:
        row = first["objects"]
        at_10, ap = (cell("objects", key) for key in ("precision", "average_precision"))
        lines += ["", "| objects in other photographs | queries | precision | mAP |", "|---|---|---|---|"]
        lines.append(
            f"| {row['pictures']} photographs | {row['queries']} | {at_10} ({100 * row['chance']:.1f}) | {ap} |"
        )
    return "\n".join(lines)
