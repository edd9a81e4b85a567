"""The index: embeddings and paths on disk, durable, with one writer and many readers at a time."""

from itl_infer.index.check import check_index
from itl_infer.index.export import EXPORT_FORMATS, export_index
from itl_infer.index.index import Index, SearchResult
from itl_infer.index.upkeep import prune, read_status, remembered_paths
from itl_infer.index.writer import UNIT_TOLERANCE, FailedFile, Picture, Writer

__all__ = [
    "EXPORT_FORMATS",
    "UNIT_TOLERANCE",
    "FailedFile",
    "Index",
    "Picture",
    "SearchResult",
    "Writer",
    "check_index",
    "export_index",
    "prune",
    "read_status",
    "remembered_paths",
]
