"""Losses of a batch: the original's triplet ranking loss, and a symmetric softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


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


def softmax_loss(
    image_embeddings: Tensor,
    text_embeddings: Tensor,
    temperature: float,
    relevant: Tensor,
) -> Tensor:
    """Cross entropy of finding the pictures of a text in the batch, plus that of finding the text of a picture.

    InfoNCE both ways (van den Oord et al. 2018, arXiv:1807.03748; Radford et al. 2021, arXiv:2103.00020): near
    negatives weigh most, the more so the lower the temperature. A text of few words holds for other pictures than
    its own as well: its target is spread over all of them (L_out of Khosla et al. 2020, arXiv:2004.11362). `relevant`:
    (n, n) bool, whether picture i shows what text j says, True on the diagonal; else as for the triplet loss.
    """
    scores = image_embeddings @ text_embeddings.T / temperature  # (n, n), rows are images
    own = torch.arange(len(scores), device=scores.device)
    target = relevant / relevant.sum(dim=0)
    return F.cross_entropy(scores.T, target.T) + F.cross_entropy(scores, own)


def collapsed_loss(batch_size: int, margin: float, temperature: float | None = None) -> float:
    """The loss of a model that gives every input the same embedding: 2 x margin x (n - 1), or 2 ln n."""
    return 2 * margin * (batch_size - 1) if temperature is None else 2 * math.log(batch_size)
