"""What targets share: a folder in memory, and what a line is."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

LONGEST_LINE = 4000  # characters of an error, names of files among them


@cache
def scratch() -> Path:
    """A folder for what is tried, gone with the process."""
    memory = "/dev/shm"
    folder = tempfile.mkdtemp(prefix="itl-fuzz-", dir=memory if os.access(memory, os.W_OK) else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def require_line(error: Exception) -> None:
    """AssertionError for what is said on more than one line, or at endless length."""
    said = str(error)
    assert said.strip(), f"says nothing: {error!r}"
    assert "\n" not in said, f"more than a line: {error!r}"
    assert len(said) <= LONGEST_LINE, f"an endless line: {said[:200]}"
