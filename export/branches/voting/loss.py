"""Losses of a batch with votes: captions that mean the same are no strangers, and pictures say what teachers say."""

from __future__ import annotations

import torch
from torch import Tensor


def captions_loss(
    image_embeddings: Tensor,
    text_embeddings: Tensor,
    temperature: float,
    meanings: Tensor | None = None,
    meaning_weight: float = 0.0,
    meaning_temperature: float = 1.0,
) -> Tensor:
    """Cross entropy both ways over the batch, pictures against captions (as `branches.loss.softmax_loss`).

    `image_embeddings` and `text_embeddings`: (n, D) unit rows, row i of one belongs to row i of the other. With
    `meanings`, (n, M) unit rows of the captions, a share `meaning_weight` of each target is spread over the batch by a
    softmax of how near the captions mean: soft targets from another network (Hinton et al. 2015, arXiv:1503.02531).
    """
    scores = image_embeddings @ text_embeddings.T / temperature  # (n, n), rows are images
    targets = torch.eye(len(scores), device=scores.device)
    if meanings is not None and meaning_weight:
        alike = (meanings @ meanings.T / meaning_temperature).softmax(dim=1)
        targets = (1 - meaning_weight) * targets + meaning_weight * alike
    of_images = (targets * scores.log_softmax(dim=1)).sum(dim=1).mean()
    of_texts = (targets * scores.T.log_softmax(dim=1)).sum(dim=1).mean()
    return -of_images - of_texts


def names_loss(image_embeddings: Tensor, texts: Tensor, temperature: float, says: Tensor) -> Tensor:
    """Cross entropy of a picture's softmax over names with what a teacher says, mean over the n pictures.

    `image_embeddings` (n, D) and `texts` (C, D): unit rows. `says` (n, C): how much of each there is; rows of nothing
    count for nothing (distillation: Hinton et al. 2015, arXiv:1503.02531).
    """
    scores = image_embeddings @ texts.T / temperature
    return -(says * scores.log_softmax(dim=1)).sum(dim=1).mean()
