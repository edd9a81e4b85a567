"""The seam between queries and where rows live: an index on this machine, or a collection of Milvus."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from itl_infer.vectors import UNIT_TOLERANCE as UNIT_TOLERANCE
from itl_infer.vectors import are_unit_rows as are_unit_rows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from itl_infer.bundle import Bundle
    from itl_infer.image import Facts
    from itl_infer.teaching import Moments, Names
    from itl_infer.where import Where

    Floats = npt.NDArray[np.float32]

MILVUS = "milvus:"  # how the address of a collection begins


class Origin(NamedTuple):
    """What embeddings were made with."""

    bundle_name: str  # empty where it is not written down
    fingerprint: str
    embed_dim: int


class Store(Protocol):
    """Embedded pictures to search; `Index` is one, `milvus.Collection` the other. Safe to use from several threads."""

    def __len__(self) -> int:
        """How many pictures it has."""

    def require_bundle(self) -> Bundle:
        """What its rows were embedded with, to embed queries; IndexStoreError where it was opened without."""

    @property
    def snapshot(self) -> View:
        """Its rows, to answer queries from that belong together."""

    def follow(self) -> None:
        """Turn to what others have committed since. What cannot be read now stays as it was."""

    def close(self) -> None:
        """Give back what it holds; it is not to be used any more."""


class View(Protocol):
    """The rows of a store, each with a number that names it as long as the view is kept."""

    def __len__(self) -> int: ...

    @property
    def names(self) -> Names:
        """The names that were taught to it."""

    @property
    def moments(self) -> Moments | None:
        """Mean and covariance of its rows, where they can be had."""

    def nearest(
        self, vectors: Floats, k: int, where: Where | None = None
    ) -> Iterable[list[tuple[int, float]]]:
        """For each unit vector of (Q, D) the `k` best rows with their cosines, best first; fewer where no more are.

        Of the rows that `where` means, all of them looked at. Raises QueryError where these cannot be told.
        """

    def count(self, where: Where | None = None) -> int:
        """How many rows `where` means. Raises QueryError as `nearest` does."""

    def facts_of(self, row: int) -> Facts | None:
        """What is known of a row besides its embedding; None in a store that keeps nothing of the kind."""

    def embeddings_of(self, rows: Sequence[int]) -> Iterable[Floats]:
        """(D,) for each of some rows that `nearest` gave."""

    def path_of(self, row: int) -> str:
        """The path of a row. LookupError for the number of none."""

    def whole(self, wanted_for: str) -> Whole:
        """All rows at once, which `wanted_for` cannot do without. Raises QueryError where they are too many."""


class Whole(Protocol):
    """Every row of a store."""

    @property
    def embeddings(self) -> Floats:
        """(N, D)."""

    @property
    def paths(self) -> Sequence[str]:
        """N paths."""

    def among(self, where: Where | None) -> npt.NDArray[np.bool_] | None:
        """Whether each row is meant, (N,); None: all are."""


def is_collection(location: str | os.PathLike[str]) -> bool:
    """Whether this is the address of a collection, and no folder."""
    return os.fspath(location).startswith(MILVUS)
