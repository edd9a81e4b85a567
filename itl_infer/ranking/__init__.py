"""Exact ranking: the best rows of a matrix for each query, with an order that no batch or block changes.

Importing this costs nothing: a lone query over few rows needs no codes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itl_infer.ranking.codes import Codes as Codes
    from itl_infer.ranking.codes import CodesError as CodesError
    from itl_infer.ranking.codes import quantize_rows as quantize_rows
    from itl_infer.ranking.exact import rank as rank

_MODULES = {
    "codes": ("Codes", "CodesError", "quantize_rows"),
    "exact": ("rank",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
