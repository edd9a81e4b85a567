"""What training brings: a row of figures for every length of it, and their curves against hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_CURVES = {
    "trunk_top1": "trunk alone: class",
    "classes": "precision at 10, classes",
    "kinds": "precision at 10, kinds",
    "top1": "right caption first",
    "top5": "right caption among 5",
    "drawn": "drawn, R@10",
}


def lengths(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What training brought: a row for every bundle on the way to the one with this manifest, which comes last.

    Those before it are `before`, which it started from, and `shorter`, which started from the same. `hours` and
    `epochs` count from the first; the other values are shares, int8 where the bundle is. None of a bundle that was not
    made here.
    """
    if "measured" not in manifest or "trunk_training" not in manifest["training"]:
        return []
    training, measured = manifest["training"]["trunk_training"], manifest["measured"]
    before: list[dict[str, Any]] = training.get("before", [])
    last, figures = training["epochs"][-1], measured.get("int8") or measured["float32"]
    done = done_before(before)
    return [
        *before,
        *training.get("shorter", []),
        {
            "hours": round(done["hours"] + last["hours"], 3),
            "epochs": done["epochs"] + len(training["epochs"]),
            "trunk_top1": round(last["val_top1"], 4),
            "classes": figures["classes"]["all"]["precision_at_10"],
            "kinds": figures["kinds"]["all"]["precision_at_10"],
            "top1": figures["captions"]["all"]["top1"],
            "top5": figures["captions"]["all"]["top5"],
            "drawn": manifest["recall"]["t2i"]["recall_at_10"],
        },
    ]


def done_before(before: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Hours and epochs of a trunk that starts from the last of these rows of `lengths`, or from nothing."""
    return before[-1] if before else {"hours": 0.0, "epochs": 0}


def draw_lengths(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """A picture of the rows of `lengths`: each share, in per cent, against hours trained."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    for key, label in _CURVES.items():
        axes.plot([row["hours"] for row in rows], [100 * row[key] for row in rows], marker="o", label=label)
    axes.set(xlabel="hours of training the trunk, two CPU cores", ylabel="%", xlim=(0, None), ylim=(0, 100))
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
