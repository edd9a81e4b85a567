"""Work that threads share: in order, begun ahead of whoever takes its results, or in any order."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from itl_infer.cpus import usable_cpus

T = TypeVar("T")
R = TypeVar("R")


class uninterrupted:
    """Ctrl-C within the block is raised at its end.

    For blocks that are soon over, and take locks written in Python: those of a pool and of its futures are left taken
    by an interrupt between two lines of theirs, and whoever waits for them then waits for ever.
    """

    def __enter__(self) -> None:
        self._interrupt: tuple[int, Any] | None = None
        self._handler: Any = None
        if threading.current_thread() is threading.main_thread():  # no other is interrupted
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self._interrupt = number, frame

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self._interrupt is not None:
                self._handler(*self._interrupt)


def is_done(future: Future[Any], seconds: float) -> bool:
    """Whether it is, after so many seconds at most, which should be few: an interrupt is raised behind them."""
    with uninterrupted():
        return bool(wait([future], timeout=seconds).done)


def in_order_ahead(
    pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[Future[R], None, None]:
    """`work` on each item, in order; when one is handed out, up to `ahead` - 1 behind it have been begun.

    Close it when no more is wanted: what is not begun by then is not done.
    """
    window: deque[Future[R]] = deque()
    try:
        for item in items:
            with uninterrupted():
                window.append(pool.submit(work, item))
            if len(window) == ahead:
                yield window.popleft()
        while window:
            yield window.popleft()
    finally:
        with uninterrupted():
            for future in window:
                future.cancel()


def in_threads(items: Sequence[T], work: Callable[[Iterator[T]], object], *, fewest: int = 1) -> None:
    """Give `work` in each of some threads the same items, of which each takes the next when it is done with one.

    As many threads as this process may use CPUs, if there are `fewest` items for each.
    """
    shared = iter(items)
    threads = min(usable_cpus(), -(-len(items) // fewest))
    if threads < 2:
        work(shared)
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(work, shared) for _ in range(threads - 1)]
        work(shared)
        for other in others:
            other.result()
