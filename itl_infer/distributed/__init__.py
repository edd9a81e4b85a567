"""The same work on a Ray cluster: pictures to Parquet shards of embeddings, and exact search over these.

Needs the extra `ray`. Nothing else in the package imports this.
"""

from itl_infer.distributed.embedding import Progress, Report, embed
from itl_infer.distributed.searching import search

__all__ = ["Progress", "Report", "embed", "search"]
