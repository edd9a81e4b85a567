"""Pictures as branches with votes are trained on them: what trunk and teachers say of each, and its captions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from export.branches.data import Array, spans


@dataclass(frozen=True)
class VotingData:
    """N pictures, each seen as it is and, where there are two views, in a mirror."""

    features: tuple[Array, ...]  # of each view: float32 (N, F), see `WithMaps`
    seen: tuple[Array, ...]  # of each view: float32 (N, K), how sure the head is of each thing; K may be 0
    taught: Array  # float32 (N, K), what the teacher of things says; 0 where it was not asked
    sources: Array  # int64 (N,): the data set that a picture is of
    input_ids: Array  # int64 (M, T), the captions of a picture one after the other
    owners: Array  # int64 (M,), the picture of each caption, rising
    meanings: Array | None = None  # float16 (M, W), unit rows: what each caption means

    def __len__(self) -> int:
        return len(self.sources)

    @cached_property
    def _spans(self) -> tuple[Array, Array]:
        """Where the captions of each picture begin, and how many there are."""
        return spans(self.owners, np.arange(len(self)))

    @cached_property
    def captioned(self) -> tuple[Array, Array]:
        """The captioned pictures of the first data set, and those of the others."""
        rows = np.flatnonzero(self._spans[1])
        first = self.sources[rows] == self.sources.min()
        return rows[first], rows[~first]

    def one_caption_each(self, rows: Array, rng: np.random.Generator) -> Array:
        """The position of one caption of each of these pictures, by chance."""
        starts, counts = self._spans
        return starts[rows] + (rng.random(len(rows)) * counts[rows]).astype(np.int64)  # type: ignore[no-any-return]


def epoch_batches(
    data: VotingData, batch_size: int, others: float, uncaptioned: int, rng: np.random.Generator
) -> Array:
    """(B, batch_size + uncaptioned): the pictures of each batch of an epoch, by chance.

    Captioned ones come first: a share `others` of them is of other data sets than the first, which an epoch passes over
    once. The last `uncaptioned` of a batch are any pictures.
    """
    first, beside = data.captioned
    of_others = round(others * batch_size) if len(beside) else 0
    of_first = batch_size - of_others
    count = len(first) // of_first
    parts = [
        rng.permutation(first)[: count * of_first].reshape(count, of_first),
        _drawn(beside, count * of_others, rng).reshape(count, of_others),
        _drawn(np.arange(len(data)), count * uncaptioned, rng).reshape(count, uncaptioned),
    ]
    return np.concatenate(parts, axis=1)


def _drawn(rows: Array, size: int, rng: np.random.Generator) -> Array:
    """So many of the rows, all of them before any comes again."""
    rounds = -(-size // max(1, len(rows)))
    return np.concatenate([np.empty(0, np.int64), *(rng.permutation(rows) for _ in range(rounds))])[:size]
