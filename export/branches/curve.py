"""How a run of the branches goes: as a line while it does, as numbers and a picture for afterwards."""

from __future__ import annotations

import json
import time
from pathlib import Path

from export.branches.data import Array
from export.loop import History, LoopProgress
from itl_infer.evaluation.metrics import evaluate_retrieval, rsum

_DRAWN_EVERY = 60  # seconds


def branch_note(state: LoopProgress) -> str:
    """Where a run of the branches stands, for a line of progress."""
    note = f"epoch {state.epoch}/{state.epochs} loss {state.loss:.2f}"
    if not state.history:
        return note
    last = state.history[-1]
    recalls = f"t2i {100 * last['val_t2i_recall_at_10']:.1f} i2t {100 * last['val_i2t_recall_at_10']:.1f}"
    return f"{note} | val loss {last['val_loss']:.2f} R@10 {recalls}"


def val_figures(texts: Array, images: Array, owners: list[int]) -> dict[str, float]:
    """What an epoch's row says of recall on val, by unit rows (M, D), (N, D); `owners`: of each caption its picture."""
    figures = evaluate_retrieval(texts, images, owners)
    return {
        "val_rsum": rsum(figures),
        **{f"val_{way}_recall_at_10": figures[way]["recall_at_10"] for way in ("t2i", "i2t")},
    }


def best_row(history: History) -> dict[str, float]:
    """The figures of the epoch whose weights were kept."""
    return max(history, key=lambda row: row["val_rsum"])


class LossCurve:
    """Losses and recalls of a run: `loss_curve.json` after every epoch, `loss_curve.png` once a minute and at the end.

    Drawing takes as long as an epoch of a small run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._drawn = folder, time.monotonic()

    def update(self, history: History) -> None:
        """After an epoch."""
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = json.dumps(history, indent=1) + "\n"
        (self._folder / "loss_curve.json").write_text(rows, encoding="utf-8")
        if time.monotonic() - self._drawn > _DRAWN_EVERY:
            self.draw(history)

    def draw(self, history: History) -> None:
        """The picture."""
        from matplotlib.figure import Figure  # without pyplot: no display, no global state

        self._drawn = time.monotonic()
        figure = Figure(figsize=(9, 4), layout="constrained")
        losses, recalls = figure.subplots(1, 2)
        epochs = [row["epoch"] for row in history]
        for key, label in (("train_loss", "train"), ("val_loss", "val")):
            losses.plot(epochs, [row[key] for row in history], label=label)
        losses.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
        for key, label in (
            ("val_t2i_recall_at_10", "text to image"),
            ("val_i2t_recall_at_10", "image to text"),
        ):
            recalls.plot(epochs, [100 * row[key] for row in history], label=label)
        recalls.set(xlabel="epoch", ylabel="recall at 10 on val, %", ylim=(0, 100))
        for axes in (losses, recalls):
            axes.legend()
            axes.grid(alpha=0.3)
        figure.savefig(self._folder / "loss_curve.png", dpi=110)
