"""Pictures in order, decoded by threads ahead of whoever embeds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from itl_infer.ahead import in_order_ahead
from itl_infer.errors import ImageError
from itl_infer.image.decode import load_pixels
from itl_infer.image.rules import ImageRules

_BATCH = 32  # pictures
_AHEAD = 4 * _BATCH  # decoded pictures in memory: 34 MB at 299 pixels


def decode_ahead(
    paths: Iterable[Path], rules: ImageRules, failed: list[ImageError] | None = None
) -> Iterator[npt.NDArray[np.uint8]]:
    """uint8 (n, side, side, 3) batches of the pictures in order, decoded by threads a few batches ahead.

    Pictures that cannot be read are left out and added to `failed`; without such a list, the first is raised.
    """
    batch: list[npt.NDArray[np.uint8]] = []
    size, ahead = rules.pictures_at_a_time(_BATCH), rules.pictures_at_a_time(_AHEAD)
    pool = ThreadPoolExecutor()
    try:
        with closing(in_order_ahead(pool, partial(load_pixels, rules=rules), paths, ahead)) as decoded:
            for future in decoded:
                try:
                    batch.append(future.result())
                except ImageError as error:
                    if failed is None:
                        raise
                    failed.append(error)
                if len(batch) == size:
                    yield np.stack(batch)
                    batch = []
        if batch:
            yield np.stack(batch)
    finally:  # whoever asks for no more must not wait for what was ahead
        pool.shutdown(wait=False, cancel_futures=True)
