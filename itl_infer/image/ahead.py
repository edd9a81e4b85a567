"""Pictures in order, decoded by threads ahead of whoever embeds them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ImageError
from itl_infer.image import ImageRules, load_pixels

_BATCH = 32  # pictures
_BATCHES_AHEAD = 4  # of decoded pictures: 34 MB at 299 pixels


def decode_ahead(
    paths: Iterable[Path], rules: ImageRules, failed: list[ImageError] | None = None
) -> Iterator[npt.NDArray[np.uint8]]:
    """uint8 (n, side, side, 3) batches of the pictures in order, decoded by threads a few batches ahead.

    Pictures that cannot be read are left out and added to `failed`; without such a list, the first is raised.
    """
    remaining = iter(paths)
    with ThreadPoolExecutor() as pool:
        ahead: deque[list[Future[npt.NDArray[np.uint8]]]] = deque()

        def submit() -> None:
            if batch := [pool.submit(load_pixels, path, rules) for path in islice(remaining, _BATCH)]:
                ahead.append(batch)

        def results(batch: list[Future[npt.NDArray[np.uint8]]]) -> Iterator[npt.NDArray[np.uint8]]:
            for decoded in batch:
                try:
                    yield decoded.result()
                except ImageError as error:
                    if failed is None:
                        raise
                    failed.append(error)

        try:
            for _ in range(_BATCHES_AHEAD):
                submit()
            while ahead:
                pixels = list(results(ahead.popleft()))
                submit()
                if pixels:
                    yield np.stack(pixels)
        finally:  # whoever asks for no more must not wait for what was ahead
            pool.shutdown(wait=False, cancel_futures=True)
