"""Pillow's warnings and log, kept from the user while any thread decodes."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from functools import cache

_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_stack = contextlib.ExitStack()


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings from the user while any thread decodes.

    `warnings.catch_warnings` is global: threads that overlap would restore each other's filters in the wrong
    order, so the first one in sets the filter and the last one out takes it away.
    """
    global _quiet_depth
    _take_pillows_log()
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\b|itl_infer\.image\b")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_stack.close()


@cache
def _take_pillows_log() -> None:
    """Damaged TIFFs are logged as errors on top of being raised; without a handler, logging prints them."""
    import logging  # some milliseconds, which a question in words should not wait for

    logging.getLogger("PIL").addHandler(logging.NullHandler())
