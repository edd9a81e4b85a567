"""The shipped bundle's card: in plain words what it finds and what it does not, how well, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

_MEASURED = (("objects in COCO photographs", "objects"), ("ImageNet names", "names"))
_TERMS = {
    "Flickr8k": "Hodosh, Young and Hockenmaier 2013, its train part with five captions each: research.",
    "Visual7W": "Zhu et al. 2016, from Visual Genome and COCO, most with questions and answers as captions: research.",
    "postcards": "Drawn for this project out of Noto Color Emoji (SIL Open Font License 1.1), five captions each.",
}

_LEARNED = (
    " Its network learned to see from the photographs below and not from ImageNet's million, so it finds what is common"
    " in them, and far less than the bundle that comes with the package: the figures say how much."
)


def write_card(manifest: Mapping[str, Any]) -> str:
    """CARD.md of the bundle with this manifest: card.md, with its figures filled in."""
    trunk, measured = manifest["trunk"], manifest["measured"]
    asked = next(iter(measured.values()))
    counts = manifest["training"]["data"]["pictures"]
    return Template(Path(__file__).with_name("card.md").read_text(encoding="utf-8")).substitute(
        name=manifest["name"],
        precisions=" / ".join(measured),
        measured="\n".join(_measured_row(what, key, measured) for what, key in _MEASURED if key in asked),
        recall=_recall(manifest),
        network=trunk["network"],
        side=trunk["side"],
        weights=_weights(trunk["weights"]),
        learned=_LEARNED if _is_learned(trunk["weights"]) else "",
        pictures="\n".join(f"- {name}: {count:,} pictures. {_TERMS[name]}" for name, count in counts.items()),
    )


def _is_learned(source: str) -> bool:
    """Whether the trunk is a student of `python -m export distil`."""
    return source.startswith("learned from")


def _weights(source: str) -> str:
    if _is_learned(source):
        return (
            f"with weights {source}, without labels, from the photographs below. Its own votes for the 1,000 classes"
            " that its teacher knows are part of the answer"
        )
    return (
        f"with the ImageNet weights of {source} (Apache 2.0), as they are. Its own votes for ImageNet's 1,000 classes"
        " are part of the answer"
    )


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
