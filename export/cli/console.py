"""What a command shows of a long job while it goes on."""

from __future__ import annotations

import sys
from typing import Any

import click

from export.report import Reporter


class Console(Reporter):
    """Stages as lines and progress as a bar, on stderr; the bar only on a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def say(self, line: str) -> None:
        self.close()
        click.echo(line, err=True)

    def progress(self, done: float, total: float, note: str = "") -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, initial=done, leave=False, disable=None, file=sys.stderr)
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
