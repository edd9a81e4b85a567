"""How well a model retrieves: ranks of what belongs together, and the usual figures over them.

Conventions are those of VSE++ (Faghri et al. 2018, arXiv:1707.05612), except that ties count against the model, so
that one which gives everything the same embedding scores chance and not 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RECALL_AT = (1, 5, 10)
_BLOCK = 1024  # rows of scores held at a time

Floats = npt.NDArray[np.float32]
Ranks = npt.NDArray[np.int64]


def t2i_ranks(text_embeddings: Floats, image_embeddings: Floats, owners: Sequence[int]) -> Ranks:
    """(M,) 0-based rank of each caption's own picture among all N.

    `text_embeddings` (M, D) and `image_embeddings` (N, D) unit rows; `owners[i]` is the picture of caption i.
    """
    own = np.asarray(owners, dtype=np.int64)
    ranks = [np.empty(0, np.int64)]
    for start in range(0, len(own), _BLOCK):
        scores = text_embeddings[start : start + _BLOCK] @ image_embeddings.T
        positives = np.take_along_axis(scores, own[start : start + _BLOCK, None], axis=1)
        ranks.append((scores >= positives).sum(axis=1) - 1)  # less the picture itself
    return np.concatenate(ranks)


def i2t_ranks(text_embeddings: Floats, image_embeddings: Floats, owners: Sequence[int]) -> Ranks:
    """(N,) 0-based rank, among all captions of other pictures, of each picture's best caption.

    A picture may have any number of captions, but must have one.
    """
    own = np.asarray(owners, dtype=np.int64)
    ranks = [np.empty(0, np.int64)]
    for start in range(0, len(image_embeddings), _BLOCK):
        scores = image_embeddings[start : start + _BLOCK] @ text_embeddings.T
        is_own = own[None, :] == np.arange(start, start + len(scores))[:, None]
        best = np.where(is_own, scores, -np.inf).max(axis=1, keepdims=True)
        ranks.append(((scores >= best) & ~is_own).sum(axis=1))
    return np.concatenate(ranks)


def recall_at_k(ranks: Ranks, k: int) -> float:
    """Share of ranks below k."""
    return float((ranks < k).mean())


def median_rank(ranks: Ranks) -> int:
    """Median of the ranks, counted from 1: floor(median) + 1."""
    return int(np.floor(np.median(ranks))) + 1


def summarize_ranks(ranks: Ranks) -> dict[str, float]:
    """R@1, R@5, R@10 as shares of 1, median and mean rank counted from 1."""
    recalls = {f"recall_at_{k}": round(recall_at_k(ranks, k), 4) for k in RECALL_AT}
    return {**recalls, "median_rank": median_rank(ranks), "mean_rank": round(float(ranks.mean()) + 1, 2)}


def evaluate_retrieval(
    text_embeddings: Floats, image_embeddings: Floats, owners: Sequence[int]
) -> dict[str, dict[str, float]]:
    """`{"t2i": {...}, "i2t": {...}}`, each as `summarize_ranks` gives it."""
    return {
        "t2i": summarize_ranks(t2i_ranks(text_embeddings, image_embeddings, owners)),
        "i2t": summarize_ranks(i2t_ranks(text_embeddings, image_embeddings, owners)),
    }


def rsum(figures: dict[str, dict[str, float]]) -> float:
    """Sum of the six recalls, in per cent: 0 to 600."""
    return 100 * sum(figures[way][f"recall_at_{k}"] for way in ("t2i", "i2t") for k in RECALL_AT)
