"""How well a model retrieves: ranks of what belongs together, the usual figures over them, and how sure these are.

Conventions are those of VSE++ (Faghri et al. 2018, arXiv:1707.05612), except that ties count against the model, so
that one which gives everything the same embedding scores nothing and not 100 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer.evaluation.tables import align, cell, percent

RECALL_AT = (1, 5, 10)
DIRECTIONS = {"t2i": "text to image", "i2t": "image to text"}
RESAMPLES = 1000
_BLOCK = 2**22  # scores held at a time: 32 MiB
TIE = 1e-12  # products of unit rows in float64 are off by less than 1e-13: nearer scores are equal

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]
Figures = dict[str, Any]
"""`{"t2i": {...}, "i2t": {...}}`, each as `summarize_ranks` gives it, and what `measure_ranks` adds."""


def retrieval_ranks(
    text_embeddings: Floats, image_embeddings: Floats, owners: Sequence[int]
) -> tuple[Ranks, Ranks]:
    """0-based ranks both ways: (M,) of each caption's own picture, and (N,) of each picture's best caption.

    `text_embeddings` (M, D) and `image_embeddings` (N, D) unit rows; `owners[i]` is the picture of caption i. A
    picture may have any number of captions, but must have one: ValueError. A caption's picture is ranked among all
    pictures; a picture's best caption among all captions of other pictures. Equal scores count against the model,
    and so does NaN.
    """
    own = np.asarray(owners, dtype=np.int64)
    counts = np.bincount(own, minlength=len(image_embeddings))
    if len(own) != len(text_embeddings) or len(counts) != len(image_embeddings) or not counts.all():
        raise ValueError(
            f"{len(own)} owners of {len(text_embeddings)} captions do not give each of"
            f" {len(image_embeddings)} pictures one"
        )
    images = image_embeddings.astype(np.float64)
    positives = np.empty(len(own))
    for block in score_blocks(len(own), len(images)):
        positives[block] = np.einsum("nd,nd->n", text_embeddings[block], images[own[block]], dtype=np.float64)
    best = np.full(len(images), -np.inf)
    with np.errstate(invalid="ignore"):
        np.maximum.at(best, own, positives)  # NaN stays NaN

    t2i, i2t = np.empty(len(own), np.int64), np.zeros(len(images), np.int64)
    for block in score_blocks(len(own), len(images)):
        scores = text_embeddings[block].astype(np.float64) @ images.T
        # "Not worse" rather than "at least as good": no comparison with NaN holds.
        t2i[block] = (~(scores < positives[block, None] - TIE)).sum(axis=1) - 1  # less the picture itself
        beside = ~(scores < best - TIE)
        beside[np.arange(len(scores)), own[block]] = False
        i2t += beside.sum(axis=0)
    return t2i, i2t


def score_blocks(count: int, width: int) -> list[slice]:
    """The rows of a (count, width) matrix of scores, so many at a time that memory stays small."""
    step = max(1, _BLOCK // max(1, width))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


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
    t2i, i2t = retrieval_ranks(text_embeddings, image_embeddings, owners)
    return {"t2i": summarize_ranks(t2i), "i2t": summarize_ranks(i2t)}


def rsum(figures: Mapping[str, Mapping[str, float]]) -> float:
    """Sum of the six recalls, in per cent: 0 to 600."""
    return 100 * sum(figures[way][f"recall_at_{k}"] for way in DIRECTIONS for k in RECALL_AT)


def measure_ranks(t2i: Ranks, i2t: Ranks, owners: Sequence[int]) -> Figures:
    """All figures of `retrieval_ranks`: t2i, i2t, rsum; "chance" and "confidence_95" hold the same keys."""
    figures: Figures = {"t2i": summarize_ranks(t2i), "i2t": summarize_ranks(i2t)}
    figures["rsum"] = round(rsum(figures), 2)
    figures["chance"] = chance(np.bincount(owners))
    figures["confidence_95"] = confidence_intervals(t2i, i2t, owners)
    return figures


def chance(captions: npt.NDArray[np.int64]) -> Figures:
    """What a model expects that orders everything by lot, where picture i of N has `captions[i]` of M captions.

    A caption's picture has each of N ranks with probability 1/N. None of a picture's c captions is among the
    first k of M with probability C(M - c, k) / C(M, k), so R@k is 1 less that, averaged over pictures, and the
    mean rank (M + 1) / (c + 1) (order statistics of a draw without replacement: David and Nagaraja 2003, 3.7).
    The median is the lowest rank that half of all draws reach.
    """
    n, m = len(captions), int(captions.sum())
    sizes, weights = np.unique(captions, return_counts=True)
    shares = weights / n
    # missed[k]: the share of draws without an own caption among the first k
    missed, at_k, median = 1.0, [1.0], None
    left = np.ones(len(sizes))
    for k in range(1, m + 1):
        left = left * np.maximum(m - sizes - (k - 1), 0) / (m - (k - 1))
        missed = float(left @ shares)
        at_k.append(missed)
        if median is None and missed <= 0.5:
            median = k
        if median is not None and k >= max(RECALL_AT):
            break
    figures: Figures = {
        "t2i": {
            **{f"recall_at_{k}": round(min(1.0, k / n), 6) for k in RECALL_AT},
            "median_rank": (n + 1) // 2,
            "mean_rank": round((n + 1) / 2, 2),
        },
        "i2t": {
            **{f"recall_at_{k}": round(1 - at_k[min(k, m)], 6) for k in RECALL_AT},
            "median_rank": median,
            "mean_rank": round(float(((m + 1) / (sizes + 1)) @ shares), 2),
        },
    }
    return {**figures, "rsum": round(rsum(figures), 2)}


def confidence_intervals(
    t2i: Ranks, i2t: Ranks, owners: Sequence[int], *, resamples: int = RESAMPLES, seed: int = 0
) -> Figures:
    """For each figure the interval [low, high] that 95 % of resampled test sets give.

    The percentile bootstrap (Efron and Tibshirani 1993, An Introduction to the Bootstrap, 13.3): as many pictures
    as there are, drawn with replacement, each with all its captions, since captions of one picture are no
    independent evidence; the 2.5th and the 97.5th percentile of the figures of `resamples` such sets. Ranks are
    those among the whole set. The same seed gives the same intervals.
    """
    own = np.asarray(owners, dtype=np.int64)
    n = len(i2t)
    order, i2t_order = np.argsort(t2i, kind="stable"), np.argsort(i2t, kind="stable")
    sorted_own = own[order]
    t2i_sorted, i2t_sorted = t2i[order], i2t[i2t_order]
    # One row of sums a picture: its captions, their hits and ranks; then its own hits and rank.
    columns: list[npt.NDArray[Any]] = [np.bincount(own, minlength=n)]
    columns += [np.bincount(own, weights=t2i < k, minlength=n) for k in RECALL_AT]
    columns += [np.bincount(own, weights=t2i, minlength=n)]
    columns += [i2t < k for k in RECALL_AT] + [i2t]
    sums = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)  # (N, 9)

    rng = np.random.default_rng(seed)
    recalls = len(RECALL_AT)
    t2i_rows, i2t_rows = np.empty((2, resamples, recalls + 2))
    for i in range(resamples):
        times = np.bincount(rng.integers(n, size=n), minlength=n)  # that each picture was drawn
        total = times @ sums
        t2i_rows[i, :recalls] = total[1 : 1 + recalls] / total[0]
        t2i_rows[i, recalls] = _weighted_median_rank(t2i_sorted, times[sorted_own])
        t2i_rows[i, -1] = total[1 + recalls] / total[0] + 1
        i2t_rows[i, :recalls] = total[2 + recalls : 2 + 2 * recalls] / n
        i2t_rows[i, recalls] = _weighted_median_rank(i2t_sorted, times[i2t_order])
        i2t_rows[i, -1] = total[-1] / n + 1
    sums_of_recalls = 100 * (t2i_rows[:, :recalls].sum(axis=1) + i2t_rows[:, :recalls].sum(axis=1))
    names = [*(f"recall_at_{k}" for k in RECALL_AT), "median_rank", "mean_rank"]
    digits = [4] * recalls + [0, 2]
    return {
        **{
            way: {
                name: middle_95(rows[:, i], digit)
                for i, (name, digit) in enumerate(zip(names, digits, strict=True))
            }
            for way, rows in (("t2i", t2i_rows), ("i2t", i2t_rows))
        },
        "rsum": middle_95(sums_of_recalls, 2),
    }


def _weighted_median_rank(ranks: Ranks, times: npt.NDArray[np.int64]) -> int:
    """`median_rank` of ascending `ranks` that occur `times` each."""
    ends = np.cumsum(times)
    total = int(ends[-1])
    middle = np.searchsorted(ends, [(total - 1) // 2, total // 2], side="right")
    return int(ranks[middle].sum() // 2) + 1


def middle_95(values: Doubles, digits: int) -> list[float]:
    """The 2.5th and the 97.5th percentile of a figure of resampled test sets, rounded."""
    low, high = np.percentile(values, [2.5, 97.5]).round(digits).tolist()
    return [low, high] if digits else [int(low), int(high)]


def format_figures(figures: Figures) -> str:
    """A table of what `measure_ranks` found: recalls in per cent, 95 % intervals in brackets, chance below."""
    head = [*(f"R@{k}" for k in RECALL_AT), "median rank", "mean rank"]
    lines = [["", *head]]
    for way, label in DIRECTIONS.items():
        found, sure, lot = (part[way] for part in (figures, figures["confidence_95"], figures["chance"]))
        lines.append([label, *(_cell(name, found[name], sure[name]) for name in found)])
        lines.append(["  by chance", *(_cell(name, lot[name]) for name in found)])
    sure = figures["confidence_95"]["rsum"]
    lines.append(["rsum", _cell("rsum", figures["rsum"], sure)])
    lines.append(["  by chance", _cell("rsum", figures["chance"]["rsum"])])
    return align(lines)


def _cell(name: str, value: float, interval: Sequence[float] = ()) -> str:
    """A figure, its interval behind it."""

    def text(number: float) -> str:
        if name.startswith("recall"):
            return percent(number)
        return f"{number:d}" if isinstance(number, int) else f"{number:.1f}"

    return cell(text, value, interval)
