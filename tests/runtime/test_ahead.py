"""Ctrl-C and the locks of a pool."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from itl_infer.ahead import in_order_ahead, uninterrupted


def test_an_interrupt_is_raised_at_the_end_of_the_block() -> None:
    done = []
    before = signal.getsignal(signal.SIGINT)

    def interrupt_and_go_on() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        interrupt_and_go_on()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is before
    with uninterrupted():
        pass


def test_results_come_in_order_from_any_thread() -> None:
    found: list[int] = []

    def take() -> None:
        with ThreadPoolExecutor(2) as pool:
            found.extend(future.result() for future in in_order_ahead(pool, lambda n: n * n, range(5), 3))

    thread = threading.Thread(target=take)  # where no interrupt is raised, and no handler can be set
    thread.start()
    thread.join()
    assert found == [0, 1, 4, 9, 16]
