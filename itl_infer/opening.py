"""Which store a name means: an index on this machine, or a collection of Milvus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from itl_infer.arguments import require_path
from itl_infer.store import Store, is_collection

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from itl_infer.bundle import Bundle

    Floats = npt.NDArray[np.float32]


def open_store(location: str | os.PathLike[str], bundle: Bundle | None = None) -> Store:
    """Open the index in a folder, or a collection, "milvus:URI#NAME", to read.

    A bundle is needed to search by text, and must be the one that the rows were made with. Raises IndexStoreError,
    and ClusterError where Milvus does not answer.
    """
    require_path("location", location)
    if is_collection(location):
        from itl_infer.milvus import Collection

        return Collection.open(os.fspath(location), bundle)
    from itl_infer.index import Index

    return Index.open(Path(location), bundle, mode="r")
