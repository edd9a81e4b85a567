"""What an embedding must be: a row of finite numbers, of unit length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itl_infer.arguments import wrong

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

UNIT_TOLERANCE = 1e-3  # how far from 1 the length of an embedding may be
_NUMBERS = "fiu"  # kinds of arrays that are numbers: no texts, no objects, no complex ones


def are_unit_rows(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether each of (N, D) rows is of unit length, (N,); one with NaN or infinity in it is not."""
    import numpy as np  # which what asks for the tolerance alone does not need

    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    are_unit: npt.NDArray[np.bool_] = np.abs(lengths - 1) < UNIT_TOLERANCE
    return are_unit


def as_rows(name: str, array: Any) -> npt.NDArray[np.float32]:
    """(N, D) float32 of what a caller gave as rows. ArgumentError for what is no array of numbers; ValueError for one
    with other axes."""
    return _floats(name, array, 2, "(rows, columns)")


def as_row(name: str, array: Any) -> npt.NDArray[np.float32]:
    """(D,) float32 of what a caller gave as one row. Raises as `as_rows` does."""
    return _floats(name, array, 1, "(columns,)")


def _floats(name: str, array: Any, axes: int, shape: str) -> npt.NDArray[np.float32]:
    import numpy as np

    try:
        found = np.asarray(array)
    except (ValueError, TypeError):  # rows of several lengths
        raise wrong(name, array, f"an array of numbers, {shape}") from None
    if found.dtype.kind not in _NUMBERS:
        raise wrong(name, array, f"an array of numbers, {shape}")
    if found.ndim != axes:
        raise ValueError(f"{name} have shape {found.shape}, expected {shape}")
    floats: npt.NDArray[np.float32] = found.astype(np.float32, copy=False)
    return floats
