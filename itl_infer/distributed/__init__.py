"""The same work on a Ray cluster: pictures to Parquet shards of embeddings, and exact search over these.

Needs the extra `ray`, as soon as it is used. Imported only where a cluster or shards are named.
"""

from itl_infer.distributed.embedding import Progress, Report, embed
from itl_infer.distributed.searching import search

__all__ = ["Progress", "Report", "embed", "search"]
