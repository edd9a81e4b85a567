"""Both branches of a bundle whose trunk votes, and its two encoders.

A picture's embedding is that of its features, and beside it the names that the trunk votes for and the things that a
head on its map sees, each as the caption branch embeds it (Norouzi et al. 2014, arXiv:1312.5650).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.branches.encoders import EMBED_DIM
from export.features.things import ThingsHead
from export.layers import ScalePixels, l2_normalize
from export.trunk.maps import WithMaps
from export.trunk.trunk import Trunk

_THINGS = 3.0


class CaptionBranch(nn.Module):
    """int64 input_ids (N, T), 0 is padding -> unit embeddings (N, 128): a sum of rows, and two layers.

    The rows are narrower than the layer behind them, so that most of the parameters are rows, which can be int8.
    """

    def __init__(self, vocabulary_size: int, stem_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.stems = nn.Embedding(vocabulary_size + 1, stem_dim, padding_idx=0)
        nn.init.normal_(self.stems.weight, std=0.05)
        with torch.no_grad():
            self.stems.weight[0] = 0
        self.widen, self.out = nn.Linear(stem_dim, hidden), nn.Linear(hidden, EMBED_DIM)
        self.dropout = nn.Dropout(dropout)

    def start_from(self, rows: np.ndarray) -> None:  # type: ignore[type-arg]
        """Let the rows begin as (V, M) vectors that say what the stems mean: their first main components."""
        centred = torch.from_numpy(rows.astype(np.float32))
        centred = centred - centred.mean(dim=0)
        width = min(self.stems.embedding_dim, centred.shape[1])
        if width < centred.shape[1]:
            components = torch.linalg.svd(centred, full_matrices=False).Vh[:width]
            centred = centred @ components.T
            width = centred.shape[1]  # no more than there are stems
        with torch.no_grad():
            self.stems.weight[1:] = 0
            self.stems.weight[1:, :width] = centred

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = F.relu(self.widen(self.stems(input_ids).sum(dim=1)))
        return l2_normalize(self.out(self.dropout(hidden)))


class PictureBranch(nn.Module):
    """Features at large (N, F), votes (N, C) and, where a head sees them, things (N, K) -> unit rows (N, 128)."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: np.ndarray,  # type: ignore[type-arg]
        hidden: int,
        dropout: float,
        gains: tuple[float, float],
    ) -> None:
        """`features` (n, F) of training pictures say how large they are; `gains` are where votes and things start."""
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(features.mean(axis=0, dtype=np.float64)).float())
        self.register_buffer("std", torch.from_numpy(features.std(axis=0, dtype=np.float64)).float() + 1e-3)
        self.hidden, self.out = nn.Linear(features.shape[1], hidden), nn.Linear(hidden, EMBED_DIM)
        self.dropout = nn.Dropout(dropout)
        self.vote_gain, self.thing_gain = (nn.Parameter(torch.tensor(gain)) for gain in gains)

    def forward(
        self,
        features: Tensor,
        votes: Tensor,
        class_texts: Tensor,
        seen: Tensor | None = None,
        thing_texts: Tensor | None = None,
    ) -> Tensor:
        """`votes`: rows that sum to 1. `class_texts` (C, 128) and `thing_texts` (K, 128): see `Names.texts`."""
        hidden = self.dropout(F.relu(self.hidden((features - self.mean) / self.std)))
        # Of unit length first: else it grows until neither votes nor things count for anything.
        embedded = l2_normalize(self.out(hidden)) + self.vote_gain * votes @ class_texts
        if seen is not None and thing_texts is not None:
            # Each thing counts as much as it does alone, until there are three; more share what three have.
            shares = seen / seen.sum(dim=1, keepdim=True).clamp(min=_THINGS)
            embedded = embedded + self.thing_gain * shares @ thing_texts
        return l2_normalize(embedded)


@dataclass(frozen=True)
class Names:
    """What the classes of a trunk, or the things of a teacher, are called: int64 (n, T) ids, and whose each is."""

    input_ids: np.ndarray  # type: ignore[type-arg]
    owners: np.ndarray  # type: ignore[type-arg]  # int64 (n,), rising
    count: int  # classes

    def one_each(self, rng: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
        """(count, T): one name of each by chance."""
        starts = np.searchsorted(self.owners, np.arange(self.count))
        counts = np.bincount(self.owners, minlength=self.count)
        return self.input_ids[starts + (rng.random(self.count) * counts).astype(np.int64)]  # type: ignore[no-any-return]

    def texts(self, branch: CaptionBranch) -> Tensor:
        """(count, 128): the mean of each one's names, of unit length."""
        embedded = branch(torch.from_numpy(self.input_ids))
        sums = torch.zeros(self.count, embedded.shape[1]).index_add(
            0, torch.from_numpy(self.owners), embedded
        )
        return l2_normalize(sums)


def centred(texts: Tensor) -> Tensor:
    """(C, 128) without what all have in common, so that votes spread over all pull a picture nowhere."""
    return texts - texts.mean(dim=0, keepdim=True)


class VotingModel(nn.Module):
    """Both branches; what a checkpoint holds."""

    def __init__(self, captions: CaptionBranch, pictures: PictureBranch) -> None:
        super().__init__()
        self.captions, self.pictures = captions, pictures


class VotingImageEncoder(nn.Module):
    """uint8 pixel_values (N, H, W, 3) -> unit embeddings (N, 128). The names' embeddings are constants of it."""

    class_texts: Tensor
    thing_texts: Tensor | None

    def __init__(
        self,
        trunk: Trunk,
        branch: PictureBranch,
        class_texts: Tensor,
        vote_temperature: float,
        head: ThingsHead | None = None,
        thing_texts: Tensor | None = None,
    ) -> None:
        super().__init__()
        assert trunk.classifier is not None
        self.scale_pixels = ScalePixels(trunk.mean, trunk.std)
        self.looks, self.feature_dim = WithMaps(trunk), trunk.feature_dim
        self.classifier, self.head, self.branch = trunk.classifier, head, branch
        self.register_buffer("class_texts", class_texts)
        self.register_buffer("thing_texts", thing_texts)
        self.vote_temperature = vote_temperature

    def forward(self, pixel_values: Tensor) -> Tensor:
        features, maps = self.looks(self.scale_pixels(pixel_values))
        votes = (self.classifier(features[:, : self.feature_dim]) / self.vote_temperature).softmax(dim=1)
        things = None if self.head is None else torch.sigmoid(self.head(*maps))
        embedded: Tensor = self.branch(features, votes, self.class_texts, things, self.thing_texts)
        return embedded
