"""Work on items that threads share out among themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from itl_infer.cpus import usable_cpus

T = TypeVar("T")


def in_threads(items: Sequence[T], work: Callable[[Iterator[T]], None]) -> None:
    """Give `work` in each thread the same iterator, of which each takes the next item when it is done with one."""
    shared = iter(items)
    threads = min(usable_cpus(), len(items))
    if threads < 2:
        work(shared)
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(work, shared) for _ in range(threads - 1)]
        work(shared)
        for other in others:
            other.result()
