"""The index: embeddings and paths on disk, durable, with one writer and many readers at a time.

What a search does not need is imported from its own module: `writer`, `check`, `export`, `upkeep`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itl_infer.index.index import Index, SearchResult
from itl_infer.index.rows import FailedFile, Picture
from itl_infer.lazy import lazy_names
from itl_infer.store import UNIT_TOLERANCE

if TYPE_CHECKING:
    from itl_infer.index.writer import Writer as Writer

__all__ = ["UNIT_TOLERANCE", "FailedFile", "Index", "Picture", "SearchResult", "Writer"]

__getattr__ = lazy_names(__name__, {"writer": ("Writer",)})
