"""How far a run is, on one line of a terminal."""

from __future__ import annotations

import sys
import time
from typing import IO

import click

from itl_infer.progress import Progress

_REDRAW_SECONDS = 0.1


class ProgressLine:
    """How far a run is, on one line of stderr that is drawn over, and only on a terminal."""

    def __init__(self, stderr: IO[str] | None = None) -> None:
        self._stderr = stderr or sys.stderr
        self.shown = self._stderr.isatty()
        self._width = 0
        self._redraw_at = 0.0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._draw("")

    def show(self, progress: Progress) -> None:
        if time.monotonic() < self._redraw_at:
            return
        self._redraw_at = time.monotonic() + _REDRAW_SECONDS
        left = "" if progress.eta_seconds is None else f"  {_clock(progress.eta_seconds)} left"
        self._draw(f"{progress.done}/{progress.total} pictures  {progress.rate:.1f}/s{left}")

    def _draw(self, text: str) -> None:
        if self._width or text:
            click.echo(f"\r{text:{self._width}}", self._stderr, nl=False)
            if not text:
                click.echo("\r", self._stderr, nl=False)
        self._width = len(text)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
