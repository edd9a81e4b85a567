"""Exact ranking: the best rows of a matrix for each query, with an order that no batch or block changes."""

from itl_infer.ranking.codes import Codes, CodesError, quantize_rows
from itl_infer.ranking.exact import rank

__all__ = ["Codes", "CodesError", "quantize_rows", "rank"]
