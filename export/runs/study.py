"""What each step from the original recipe to the best one gives: several seeds each, on held-out pictures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.branches.curve import branch_note
from export.branches.data import TrainingData
from export.branches.encoders import TwoBranch
from export.branches.recipe import BEST, ORIGINAL, Recipe
from export.branches.train import embed, train
from export.report import Reporter
from export.runs.prepare import BuildSettings, prepare
from export.trunk.recipe import TrunkRecipe
from itl_infer.captions import CaptionDataset
from itl_infer.evaluation.metrics import RECALL_AT, evaluate_retrieval, rsum
from itl_infer.evaluation.places import average_precision, places_of_right

SETTINGS = BuildSettings(
    name="postcards",
    domain="drawn scenes made of emoji (postcards)",
    trunk_weights="none",
    side=160,
    trunk_recipe=TrunkRecipe(epochs=11, batch_size=64, sides=(128,) * 7 + (160,), learning_rate=6e-4),
)
_SOFTMAX = replace(ORIGINAL, temperature=BEST.temperature)
_SHORT = replace(_SOFTMAX, short_captions=BEST.short_captions)
_LARGE = replace(_SHORT, batch_size=BEST.batch_size, learning_rate=BEST.learning_rate)
TRIED: dict[str, Recipe] = {
    "original": ORIGINAL,
    "original with short captions": replace(ORIGINAL, short_captions=BEST.short_captions),
    "softmax loss": _SOFTMAX,
    "+ short captions": _SHORT,
    "+ batches of 512": _LARGE,
    "+ cosine schedule = best": BEST,
}
"""Each adds to the one before; but the softmax loss stands on the original without short captions."""


def study(
    dataset: CaptionDataset,
    settings: BuildSettings,
    work: Path,
    reporter: Reporter,
    *,
    seeds: int = 3,
    names: tuple[str, ...] = tuple(TRIED),
) -> dict[str, list[dict[str, float]]]:
    """Figures of every named recipe on the test split, one dict per seed; val ends each run.

    Trunk, cached features and the checkpoints of all runs stay in `work`: an interrupted study goes on.
    """
    ready = prepare(dataset, settings, work, reporter)
    data = {
        name: TrainingData.of(split, ready.images[name], ready.processor)
        for name, split in ready.splits.items()
    }
    found: dict[str, list[dict[str, float]]] = {}
    for name in names:
        for seed in range(seeds):
            reporter.say(f"Training {name}, seed {seed}")
            model, history = train(
                data["train"],
                data["val"],
                len(ready.processor.stems),
                replace(TRIED[name], seed=seed),
                work / "recipes" / f"{'-'.join(re.findall('[a-z0-9]+', name))}-{seed}",
                progress=lambda state: reporter.progress(state.step, state.steps, branch_note(state)),
            )
            best = max(row["val_rsum"] for row in history)
            found.setdefault(name, []).append({"val_rsum": best, **measure(model, data["test"])})
    return found


def measure(model: TwoBranch, data: TrainingData) -> dict[str, float]:
    """Recalls both ways, their sum, and the mean average precision of queries of two words."""
    images, texts = embed(model, data)
    figures = evaluate_retrieval(texts, images, data.owners.tolist())
    recalls = {
        f"{way}_recall_at_{k}": figures[way][f"recall_at_{k}"] for way in ("t2i", "i2t") for k in RECALL_AT
    }
    return {**recalls, "rsum": rsum(figures), "short_query_map": short_query_map(model, data, images)}


def short_query_map(model: TwoBranch, data: TrainingData, images: np.ndarray[Any, Any]) -> float:
    """Mean average precision of one query for each picture: two stems, by chance, of one of its captions.

    Relevant are all pictures whose captions have both, which is what people who type two words expect.
    """
    rng = np.random.default_rng(0)
    queries = np.zeros((len(data), 2), dtype=np.int64)
    for row, caption in enumerate(data.input_ids[data.one_caption_each(np.arange(len(data)), rng)]):
        known = caption[caption > 0]
        chosen = rng.permutation(known)[:2]
        queries[row, : len(chosen)] = chosen
    queries = queries[queries.any(axis=1)]
    with torch.inference_mode():
        device = next(model.parameters()).device
        embeddings = model.text_encoder(torch.from_numpy(queries).to(device)).cpu().numpy()
    relevant = data.relevance(np.arange(len(data)), queries)
    places = places_of_right(embeddings, images, [np.flatnonzero(shown) for shown in relevant.T])
    return float(np.mean([average_precision(found) for found in places]))


COLUMNS = {
    "t2i_recall_at_1": "t2i R@1",
    "t2i_recall_at_5": "R@5",
    "t2i_recall_at_10": "R@10",
    "i2t_recall_at_1": "i2t R@1",
    "i2t_recall_at_5": "R@5",
    "i2t_recall_at_10": "R@10",
    "rsum": "rsum",
    "short_query_map": "two words, mAP",
    "val_rsum": "val rsum",
}


def format_study(found: dict[str, list[dict[str, float]]]) -> str:
    """A Markdown table: in per cent, mean over the seeds ± their standard deviation."""
    lines = ["| recipe | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, runs in found.items():
        cells = []
        for key in COLUMNS:
            values = np.array([run[key] for run in runs]) * (1 if "rsum" in key else 100)
            cells.append(f"{values.mean():.1f} ± {values.std(ddof=1) if len(values) > 1 else 0:.1f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
