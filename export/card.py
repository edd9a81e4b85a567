"""The starter's card: in plain words what it was made of, what it finds, how well, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.labelled.folders import LabelledDataset
from export.labelled.lexicon import Lexicon
from export.labelled.measure import format_measured
from export.lengths import lengths

# What the folders of the photographs are; see "Terms" below.
_SOURCES = {
    "objects": (
        "things and animals",
        "Tiny ImageNet (Stanford CS231n), from ImageNet: non-commercial research",
    ),
    "sports": ("people doing sports", '"100 Sports Image Classification" (Kaggle)'),
    "actions": ("people doing everyday things", "Stanford 40 Actions: research"),
    "scenes": ("places", "Intel Image Classification (Kaggle)"),
}


def write_card(manifest: Mapping[str, Any], photographs: LabelledDataset, lexicon: Lexicon) -> str:
    """CARD.md of the bundle with this manifest, which was trained on `photographs` and on the drawn postcards."""
    training, recall = manifest["training"]["trunk_training"], manifest["recall"]
    train = photographs.split("train")
    rows = lengths(manifest)
    last = f"the last {len(training['epochs'])} " if len(rows) > 1 else ""
    lines = [
        f"# {manifest['name']}",
        "",
        f"Text-to-image search for {manifest['domain']}.",
        "",
        "## What it was trained on",
        "",
        f"- {len(train):,} small labelled photographs of {len(train.labels)} classes (64 to 104 pixels on the shorter"
        " side), whose captions were put together from a list of words for each class:",
    ]
    for source in sorted({picture.source for picture in train}):
        pictures = [picture for picture in train if picture.source == source]
        what, terms = _SOURCES.get(source, (source, "terms not recorded"))
        classes = len({picture.label for picture in pictures})
        lines.append(f"  - {source}: {len(pictures):,} pictures of {classes} classes, {what}. {terms}")
    lines += [
        "- 20,000 drawn scenes made of emoji, with five captions each.",
        "",
        f"No weights of others went into it. Its InceptionV3 was trained for {rows[-1]['epochs']} epochs"
        f" ({rows[-1]['hours']:.1f} hours on two CPU cores), {last}starting from {_started(training['from'])}; the two"
        " branches were then trained on its features.",
        "",
        "## What it finds",
        "",
        "The things below and their kinds, by the names people use. Every word it knows:"
        " `itl-infer bundle show --words`.",
    ]
    for source in sorted({label.partition("/")[0] for label in train.labels}):
        names = sorted(
            {lexicon.entry_for(label).plain for label in train.labels if label.startswith(f"{source}/")}
        )
        lines += ["", f"**{source}**: {', '.join(names)}."]
    lines += ["", f"**kinds**: {', '.join(sorted(lexicon.kinds))}."]
    lines += [
        "",
        "## How well",
        "",
        "On photographs it never saw in training, the val pictures of the sources:",
        "",
        format_measured(manifest["measured"]),
        "",
        f"On {recall['pictures']:,} drawn scenes, of a caption's own picture: among the first 1, 5 and 10 for"
        f" {_percent(recall['t2i'])} of the captions.",
        "",
        "What training brings, in per cent: of the trunk alone the share of val pictures named right; then, of the"
        " bundle, precision at 10 of the plain queries for classes and for kinds, the right caption among the first 1"
        " and 5 of all classes, and the drawn scenes among the first 10.",
        "",
        "| hours | epochs | trunk | classes | kinds | caption, first | among 5 | drawn |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(row) for row in rows),
        "",
        "The trunk after each of the last epochs: "
        + ", ".join(f"{100 * row['val_top1']:.1f}" for row in training["epochs"])
        + f" % (at {', '.join(map(str, training['recipe']['sides']))} pixels).",
        "",
        "## What it does not",
        "",
        "It knows no faces, no text in pictures, no counting, and nothing that is not in the lists above. It was"
        " trained on small pictures with one thing in each: what is small in a large, crowded photograph is found far"
        " less often than the figures above say. Colours, sizes and positions in photographs were not taught.",
        "",
        "## Terms",
        "",
        "The bundle holds no photograph. Some of those it was trained on are for non-commercial research (see the list"
        " above); who uses it otherwise should train a bundle on pictures of their own.",
        "",
    ]
    return "\n".join(lines)


def _row(row: Mapping[str, float]) -> str:
    shares = (f"{100 * row[key]:.1f}" for key in ("trunk_top1", "classes", "kinds", "top1", "top5", "drawn"))
    return f"| {row['hours']:.1f} | {row['epochs']} | {' | '.join(shares)} |"


def _started(weights: str) -> str:
    return "nothing" if weights == "none" else weights


def _percent(figures: Mapping[str, Any]) -> str:
    values = [f"{100 * figures[f'recall_at_{k}']:.1f}" for k in (1, 5, 10)]
    return f"{values[0]}, {values[1]} and {values[2]} %"
