"""Exact ranking: the best rows of a matrix for each query, with an order that no batch or block changes.

Importing this costs nothing: a lone query over few rows needs no codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itl_infer.lazy import lazy_names

if TYPE_CHECKING:
    from itl_infer.ranking.codes import Codes as Codes
    from itl_infer.ranking.codes import CodesError as CodesError
    from itl_infer.ranking.codes import quantize_rows as quantize_rows
    from itl_infer.ranking.exact import rank as rank

_MODULES = {
    "codes": ("Codes", "CodesError", "quantize_rows"),
    "exact": ("rank",),
}

__all__ = [name for names in _MODULES.values() for name in names]

__getattr__ = lazy_names(__name__, _MODULES)
