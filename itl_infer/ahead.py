"""Work in order, begun by threads ahead of whoever takes its results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order_ahead(
    pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[Future[R], None, None]:
    """`work` on each item, in order; when one is handed out, up to `ahead` - 1 behind it have been begun.

    Close it when no more is wanted: what is not begun by then is not done.
    """
    window: deque[Future[R]] = deque()
    try:
        for item in items:
            window.append(pool.submit(work, item))
            if len(window) == ahead:
                yield window.popleft()
        while window:
            yield window.popleft()
    finally:
        for future in window:
            future.cancel()
