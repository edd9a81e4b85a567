"""The triplet ranking loss of the original system, over all negatives of a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def triplet_ranking_loss(image_embeddings: Tensor, text_embeddings: Tensor, margin: float) -> Tensor:
    """Both directions, every other item of the batch a negative, summed over negatives, divided by n.

    `L = (1/n) sum_i sum_{j != i} max(0, m + s(x_i, y_j) - s(x_i, y_i)) + max(0, m + s(x_j, y_i) - s(x_i, y_i))`
    (bidirectional ranking loss: Wang, Li, Lazebnik 2016, arXiv:1511.06078), s the cosine.

    `image_embeddings`, `text_embeddings`: (n, D) unit rows, row i of one belongs to row i of the other.
    """
    scores = image_embeddings @ text_embeddings.T  # (n, n), rows are images
    positives = scores.diagonal()
    off_diagonal = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    to_texts = (margin + scores - positives[:, None]).clamp(min=0)
    to_images = (margin + scores - positives[None, :]).clamp(min=0)
    return ((to_texts + to_images) * off_diagonal).sum() / len(scores)


def collapsed_loss(batch_size: int, margin: float) -> float:
    """The loss of a model that gives every input the same embedding: 2 x margin x (n - 1)."""
    return 2 * margin * (batch_size - 1)
