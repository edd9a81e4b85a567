"""Files that are whole or not there: written beside, waited for until the disk has them, then put in place."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

if sys.platform == "darwin":
    import fcntl


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when the block is done, and leaves it alone when that fails."""
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            yield file
            sync(file)
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(file: IO[bytes]) -> None:
    """Wait until what was written to `file` is on the disk, and not in a cache on the way."""
    file.flush()
    if sys.platform == "darwin":
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # fsync leaves it in the drive's own cache there
    else:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until files made, renamed or removed in `folder` are so on the disk."""
    if sys.platform == "win32":
        return  # folders cannot be opened there; NTFS keeps its own journal of them
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def one_form(name: str) -> str:
    """A name in the one form in which names are compared: systems differ in how they write an accent (NFC or NFD)."""
    if name.isascii():
        return name
    import unicodedata  # which the rest of this does without

    return unicodedata.normalize("NFC", name)


def as_on_disk(path: Path) -> Path:
    """A path that a person typed as the disk writes it, where that differs in the form of its accents alone."""
    if str(path).isascii() or os.path.lexists(path) or path == path.parent:
        return path
    folder = as_on_disk(path.parent)
    with contextlib.suppress(OSError):
        wanted = one_form(path.name)
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 (only names are needed)
            if one_form(name) == wanted:
                return folder / name
    return folder / path.name
