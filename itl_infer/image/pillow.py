"""What is changed of Pillow, which is global, while threads of this package read pictures, and put back after them."""

from __future__ import annotations

import contextlib
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache


class _WhileAny:
    """A change for as long as any thread is inside: made by the first one in, undone by the last one out.

    Threads that overlap would else restore each other's values in the wrong order.
    """

    def __init__(self, change: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._inside = 0
        self._changed = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._changed.enter_context(self._change())
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._changed.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    _take_pillows_log()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b|itl_infer\.image\b")
        yield


@contextlib.contextmanager
def _unlimited() -> Iterator[None]:
    global _lifted
    from PIL import Image

    _lifted = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        if Image.MAX_IMAGE_PIXELS is None:  # else somebody has set another one meanwhile
            Image.MAX_IMAGE_PIXELS = _lifted


quiet_pillow = _WhileAny(_quiet)
"""Keep Pillow's warnings from the user."""

unlimited_pillow = _WhileAny(_unlimited)
"""Let Pillow open pictures of any size.

`Image.MAX_IMAGE_PIXELS` guards whoever else uses Pillow in this process too: it is lifted for one picture that it
refused, and no longer than that is read.
"""

_lifted: int | None = None  # the limit that was lifted last


def pixels_refused_above() -> float:
    """How many pixels Pillow lets a picture have, whether a thread has lifted the limit at the moment or not."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS or _lifted
    return math.inf if limit is None else 2 * limit  # it only warns up to there


@cache
def _take_pillows_log() -> None:
    """Damaged TIFFs are logged as errors on top of being raised; without a handler, logging prints them."""
    import logging  # some milliseconds, which a question in words should not wait for

    logging.getLogger("PIL").addHandler(logging.NullHandler())
