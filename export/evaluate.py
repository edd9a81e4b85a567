"""Measures a finished bundle on captioned pictures: the graphs that people will run, not the model behind them."""

from __future__ import annotations

import numpy as np

from export.report import Reporter
from itl_infer.bundle import Bundle
from itl_infer.captions import CaptionDataset
from itl_infer.decoding import decode_ahead
from itl_infer.errors import ImageError
from itl_infer.evaluation import Evaluation, evaluate_embeddings


def evaluate_bundle(bundle: Bundle, dataset: CaptionDataset, split: str, reporter: Reporter) -> Evaluation:
    """Measure `bundle` on all readable pictures of `dataset`, those of `split`, which are embedded for it."""
    reporter.say(f"Measuring {bundle.name} on {len(dataset)} pictures and {len(dataset.captions)} captions")
    embeddings = [np.empty((0, bundle.embed_dim), np.float32)]
    failed: list[ImageError] = []
    done = 0
    for pixels in decode_ahead(dataset.paths, bundle.image_rules, failed):
        embeddings.append(bundle.embed_pixels(pixels))
        done += len(pixels)
        reporter.progress(done + len(failed), len(dataset))
    if not done:
        raise failed[0]
    readable = dataset.without({error.name: error.reason for error in failed})
    return evaluate_embeddings(bundle, readable, split, np.concatenate(embeddings))
