"""The index: embeddings and paths on disk, durable, with one writer and many readers at a time.

What a search does not need is imported from its own module: `check`, `export`, `upkeep`.
"""

from itl_infer.index.index import Index, SearchResult
from itl_infer.index.rows import FailedFile, Picture
from itl_infer.index.writer import Writer
from itl_infer.store import UNIT_TOLERANCE

__all__ = ["UNIT_TOLERANCE", "FailedFile", "Index", "Picture", "SearchResult", "Writer"]
