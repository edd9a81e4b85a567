"""Rows in a collection of Milvus: filled from an index or from Parquet, searched like an index, measured against it.

Needs the extra `milvus`. Nothing else in the package imports this before a collection is named.
"""

from itl_infer.milvus.address import Address
from itl_infer.milvus.collection import Collection
from itl_infer.milvus.push import PushReport as Report
from itl_infer.milvus.push import push
from itl_infer.milvus.recall import DEFAULT_SAMPLE, Check, check_collection
from itl_infer.progress import Progress

__all__ = [
    "DEFAULT_SAMPLE",
    "Address",
    "Check",
    "Collection",
    "Progress",
    "Report",
    "check_collection",
    "push",
]
