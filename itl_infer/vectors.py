"""What an embedding must be: a row of finite numbers, of unit length."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

UNIT_TOLERANCE = 1e-3  # how far from 1 the length of an embedding may be


def are_unit_rows(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether each of (N, D) rows is of unit length, (N,); one with NaN or infinity in it is not."""
    import numpy as np  # which what asks for the tolerance alone does not need

    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    are_unit: npt.NDArray[np.bool_] = np.abs(lengths - 1) < UNIT_TOLERANCE
    return are_unit
