"""Times that can be compared: taken in turns, each with the machine to itself, as medians and quartiles."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

ROUNDS = 9
_REST = 0.02  # threads of the work before spin for a while when they are done, above all OpenMP's
_SAMPLE = 0.1  # seconds of one sample, if one call does not take longer


def sample(work: Callable[[], object]) -> float:
    """The mean time of a call in ms, after a first one that warms up."""
    time.sleep(_REST)
    start = time.perf_counter()
    work()
    first = time.perf_counter() - start
    if first > 5 * _SAMPLE:
        return 1000 * first
    calls = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < _SAMPLE:
        work()
        calls += 1
    return 1000 * seconds / calls


def samples(*works: Callable[[], object], rounds: int = ROUNDS) -> np.ndarray:
    """(works, rounds) times in ms; a round takes one of each, so that a slow moment hits them all."""
    return np.array([[sample(work) for work in works] for _ in range(rounds)]).T


def spread(values: np.ndarray, digits: int = 2) -> str:
    """Median, and quartiles in brackets."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
