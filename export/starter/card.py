"""The shipped bundle's card: in plain words what it finds and what it does not, how well, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a person might type, and what the first pictures for it are.
_EXAMPLES = (
    "dog, pizza, giraffe, bus, tennis, kitchen, bear, motorcycle, bathroom sink, people skiing in the snow"
)


def write_card(manifest: Mapping[str, Any]) -> str:
    """CARD.md of the bundle with this manifest."""
    training, trunk, measured = manifest["training"], manifest["trunk"], manifest["measured"]
    counts = training["data"]["pictures"]
    precisions = list(measured)
    parts = [
        f"# {manifest['name']}",
        "## What it finds",
        "Photographs as people have them, by what is in them: animals, vehicles, food, furniture, sports, people and"
        " what they do, places; some 1,000 kinds of things by name, and some 80 everyday things also where they are"
        f" small. Try {_EXAMPLES}. Every word it knows: `itl-infer bundle show --words`.",
        "## What it does not",
        "It reads a query as a bag of words: who does what to whom, and where things stand, is lost on it. It cannot"
        " count, read writing in pictures, or tell who somebody is, and knows few proper names. Words that were in no"
        " caption and no name it says it does not know. Small things other than the 80, and what only an expert would"
        " see, it mostly misses.",
        "## How well",
        "In per cent, " + " / ".join(precisions) + ".",
        "\n".join(
            [
                "| asked | pictures | queries | mAP | R-precision | first 1 | first 10 |",
                "|---|---|---|---|---|---|---|",
                *(
                    _measured_row(what, key, measured)
                    for what, key in _MEASURED
                    if key in measured[precisions[0]]
                ),
            ]
        ),
        _recall(manifest),
        "Those of things are measured on photographs at their own size, none of which was trained on; the"
        " names are those of which another network was sure.",
        "## What it was made of",
        f"- The trunk: {trunk['network']} at {trunk['side']} pixels, with the ImageNet weights of {trunk['weights']}"
        " (Apache 2.0), as they are. Its own votes for ImageNet's 1,000 classes are part of the answer.",
        "\n".join(f"- {name}: {count:,} pictures. {_TERMS[name]}" for name, count in counts.items()),
        "- Teachers, of which nothing is in the bundle but what it learned: YOLOX-nano with its COCO weights (Apache"
        " 2.0), for things; all-MiniLM-L6-v2 (Apache 2.0), for what captions and words mean.",
        "- The classes' names: WordNet, by way of timm (Apache 2.0). The table of word forms: WordNet 3.0, whose"
        " licence is in forms.txt.",
        "## Terms",
        "The bundle holds no photograph. The photographs it was trained on were handed out for research; rights stay"
        " with the photographers. Who uses it for other purposes should think about that, or train a bundle on pictures"
        " of their own: `python -m export build`.",
    ]
    return "\n\n".join(parts) + "\n"


_MEASURED = (("objects in COCO photographs", "objects"), ("ImageNet names", "names"))
_TERMS = {
    "Flickr8k": "Hodosh, Young and Hockenmaier 2013, its train part with five captions each: research.",
    "Visual7W": "Zhu et al. 2016, from Visual Genome and COCO, most with questions and answers as captions: research.",
    "postcards": "Drawn for this project out of Noto Color Emoji (SIL Open Font License 1.1), five captions each.",
}


def _measured_row(what: str, key: str, measured: Mapping[str, Any]) -> str:
    found = [precision[key] for precision in measured.values()]
    cells = [
        " / ".join(f"{100 * one[figure]:.1f}" for one in found) + f" ({100 * found[0]['chance'][figure]:.1f})"
        for figure in ("mean_average_precision", "r_precision", "recall_at_1", "recall_at_10")
    ]
    return f"| {what} | {found[0]['pictures']:,} | {found[0]['queries']:,} | {' | '.join(cells)} |"


def _recall(manifest: Mapping[str, Any]) -> str:
    recall = manifest["recall"]
    ways = [
        f"{said} among the first 1, 5 and 10: "
        + ", ".join(f"{100 * recall[way][f'recall_at_{k}']:.1f}" for k in (1, 5, 10))
        for said, way in (("a caption's own picture", "t2i"), ("one of a picture's own captions", "i2t"))
    ]
    tested = f"{recall['pictures']:,} test photographs and {recall['captions']:,} captions"
    return f"On Flickr8k's {tested}: {'; '.join(ways)}."
