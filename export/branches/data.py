"""Pictures and captions as the branches are trained on them, the batches of an epoch, and captions cut short."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from export.branches.recipe import Recipe
from itl_infer.captions import CaptionDataset
from itl_infer.text import TextProcessor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainingData:
    """Pictures as the model takes them, and their captions as ids.

    `images` is float32 (N, feature_dim) features, or uint8 (N, S, S, 3) pixels where the trunk is trained too.
    """

    images: Array
    input_ids: Array  # int64 (M, T), the captions of a picture one after the other
    owners: Array  # int64 (M,), the picture of each caption
    ids_sha256: str

    @classmethod
    def of(cls, dataset: CaptionDataset, images: Array, processor: TextProcessor) -> TrainingData:
        """The captions of `dataset` as `processor` reads them, beside its pictures."""
        return cls(
            images,
            processor.input_ids(dataset.captions),
            np.array(dataset.caption_owners),
            dataset.ids_sha256,
        )

    def __len__(self) -> int:
        return len(self.images)

    # Both once and not at every step: they look at all captions.

    @cached_property
    def _captions_of(self) -> tuple[Array, Array]:
        """For each picture the position of its first caption, and how many it has."""
        return spans(self.owners, np.arange(len(self)))

    @cached_property
    def _highest_id(self) -> int:
        return int(self.input_ids.max())

    @cached_property
    def _caption_stems(self) -> tuple[Array, Array, Array]:
        """The ids that the captions of each picture have, one behind the other; where each begins, and how many."""
        of_picture = self.owners[:, None] * (self._highest_id + 1)
        picture, ids = np.divmod(np.unique(of_picture + self.input_ids), self._highest_id + 1)
        return ids, *spans(picture, np.arange(len(self)))

    def one_caption_each(self, rows: Array, rng: np.random.Generator) -> Array:
        """The position of one caption of each of these pictures, by chance."""
        firsts, counts = self._captions_of
        return firsts[rows] + (rng.random(len(rows)) * counts[rows]).astype(np.int64)

    def relevance(self, rows: Array, input_ids: Array) -> Array:
        """(n, m) bool: whether the captions of picture `rows[i]` have all stems of text `input_ids[j]`."""
        ids, starts, counts = self._caption_stems
        places = np.concatenate([np.arange(starts[row], starts[row] + counts[row]) for row in rows])
        said = np.zeros((len(rows), max(self._highest_id, int(input_ids.max())) + 1), dtype=bool)
        said[np.repeat(np.arange(len(rows)), counts[rows]), ids[places]] = True
        said[:, 0] = True  # padding
        found = np.ones((len(rows), len(input_ids)), dtype=bool)
        for column in input_ids.T:
            found &= said[:, column]
        return found


def spans(owners: Array, wanted: Array) -> tuple[Array, Array]:
    """Where each wanted picture begins among `owners`, which rise, and how often it is there."""
    starts = np.searchsorted(owners, wanted)
    return starts, np.searchsorted(owners, wanted, side="right") - starts


def epoch_batches(data: TrainingData, recipe: Recipe, epoch: int) -> Array:
    """(B, n): the pictures of each batch of an epoch, by chance; in rising order, which memory maps like."""
    rng = np.random.default_rng((recipe.seed, epoch))
    rows = rng.permutation(len(data))
    count = len(rows) // recipe.batch_size
    return np.sort(rows[: count * recipe.batch_size].reshape(count, -1), axis=1)


def shorten(input_ids: Array, share: float, rng: np.random.Generator) -> Array:
    """(N, T) ids with a random `share` of the rows cut to some of their ids: any number from 1, any of them."""
    counts = (input_ids > 0).sum(axis=1)
    keep = np.where(
        rng.random(len(input_ids)) < share, 1 + (rng.random(len(input_ids)) * counts).astype(int), counts
    )
    places = np.where(input_ids > 0, rng.random(input_ids.shape), 2.0).argsort(axis=1).argsort(axis=1)
    return np.where(places < keep[:, None], input_ids, 0)
