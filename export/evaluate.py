"""Measures a finished bundle on captioned pictures: the graphs that people will run, not the model behind them."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.report import Reporter
from itl_infer.bundle import Bundle
from itl_infer.captions import CaptionDataset
from itl_infer.image import load_pixels
from itl_infer.manifest import VOCABULARY
from itl_infer.metrics import RECALL_AT, evaluate_retrieval
from itl_infer.text import TextProcessor, parse_vocabulary

Figures = dict[str, dict[str, float]]

_BATCH = 32


def evaluate_bundle(bundle: Bundle, dataset: CaptionDataset, reporter: Reporter) -> Figures:
    """Recalls of `bundle` on all of `dataset`, both ways. Captions without a known word count like any other."""
    reporter.say(f"Measuring {bundle.name} on {len(dataset)} pictures and {len(dataset.captions)} captions")
    embeddings = []
    for start in range(0, len(dataset), _BATCH):
        pixels = [load_pixels(path, bundle.image_rules) for path in dataset.paths[start : start + _BATCH]]
        embeddings.append(bundle.embed_pixels(np.stack(pixels)))
        reporter.progress(start + len(pixels), len(dataset))
    processor = TextProcessor(bundle.text_rules, parse_vocabulary(bundle.read_file(VOCABULARY)))
    texts = bundle.embed_ids([processor.parse(caption).ids for caption in dataset.captions])
    return evaluate_retrieval(texts, np.concatenate(embeddings), dataset.caption_owners)


def chance(pictures: int) -> dict[str, float]:
    """Recalls of a model that guesses among `pictures`."""
    return {f"recall_at_{k}": min(1.0, k / pictures) for k in RECALL_AT}


def format_figures(figures: dict[str, Any], pictures: int) -> str:
    """A small table: recalls in per cent both ways, median and mean rank, and chance."""
    lines = [f"{'':16}" + "".join(f"{f'R@{k}':>8}" for k in RECALL_AT) + f"{'median':>9}{'mean':>9}"]
    rows = (
        ("text to image", figures["t2i"]),
        ("image to text", figures["i2t"]),
        ("chance", chance(pictures)),
    )
    for label, row in rows:
        ranks = f"{row['median_rank']:>9}{row['mean_rank']:>9.1f}" if "median_rank" in row else ""
        lines.append(
            f"{label:16}" + "".join(f"{100 * row[f'recall_at_{k}']:>8.1f}" for k in RECALL_AT) + ranks
        )
    return "\n".join(lines)
