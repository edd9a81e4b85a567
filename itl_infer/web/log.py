"""What the server has to say: a line a second of one kind, with how many more there were."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from itl_infer.errors import reason_of

_SECONDS = 1.0
_KINDS = 100  # that are told apart
_LOGGERS = ("uvicorn", "uvicorn.error", "asyncio")
# The other side has gone, or was sent away.
_NO_ERROR = ("ASGI callable returned without",)


class CountedLines(logging.Handler):
    """Writes the first record of a kind, and after a second the next one and how many there were between."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._write, self._now = write, now
        self._told: dict[str, tuple[float, int]] = {}  # when, and how many since

    def emit(self, record: logging.LogRecord) -> None:
        """As one line, without a traceback."""
        kind = f"{record.name} {str(record.msg)[:40]}"
        if str(record.msg).startswith(_NO_ERROR):
            return
        if kind not in self._told and len(self._told) >= _KINDS:
            kind = "others"
        at, more = self._told.get(kind, (-_SECONDS, 0))
        if self._now() - at < _SECONDS:
            self._told[kind] = at, more + 1
            return
        self._told[kind] = self._now(), 0
        counted = f" (and {more} more like it)" if more else ""
        with contextlib.suppress(OSError):  # nobody reads it any more
            self._write(f"{_describe(record)}{counted}")


def _describe(record: logging.LogRecord) -> str:
    first, *_ = [*record.getMessage().splitlines(), ""]
    error = record.exc_info[1] if record.exc_info else None
    return first if error is None else f"{first.rstrip(' :')}: {type(error).__name__}: {reason_of(error)}"


def log_to(write: Callable[[str], None]) -> None:
    """Have the server's own words written so, and in no other way."""
    handler = CountedLines(write)
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name in ("uvicorn", "asyncio") else []
        logger.setLevel(logging.WARNING)
        logger.propagate = name == "uvicorn.error"
