"""Exact ranking: the best rows of a matrix for each query, with an order that no batch or block changes."""

from itl_infer.ranking.exact import rank

__all__ = ["rank"]
