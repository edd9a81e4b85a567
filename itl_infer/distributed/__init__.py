"""The same work on a Ray cluster: pictures to Parquet shards of embeddings, and exact search over these.

Needs the extra `ray`, as soon as it is used. Imported only where a cluster or shards are named.
"""

from itl_infer.distributed.embedding import ShardsReport as Report
from itl_infer.distributed.embedding import embed
from itl_infer.distributed.searching import search
from itl_infer.progress import Progress

__all__ = ["Progress", "Report", "embed", "search"]
