"""Files of a bundle, which may come from anywhere: plain ones in its folder, within limits, or none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from itl_infer.errors import BundleError, reason_of

RESTORE = "fetch or export the bundle again"

# Opening a pipe would wait for ever; it may have taken the place of a file since that was looked at.
_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_plain_file(folder: Path, name: str, most: int) -> bytes:
    """The content of a file of a bundle, of `most` bytes at most. Raises BundleError.

    Its cause is the OSError, if there was one. A pipe, a device or a link that leads out of the folder is none of a
    bundle's files.
    """
    path = folder / name
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder.resolve()):
            raise BundleError(
                f"{path}: a link that leads out of the bundle's folder: put the file itself there"
            )
        _require_plain(real.stat(), path, most)
        with os.fdopen(os.open(real, _OPEN), "rb") as file:
            _require_plain(os.fstat(file.fileno()), path, most)
            return file.read(most + 1)[:most]
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself; a name that no system has
        raise BundleError(f"{path}: cannot be read: {reason_of(error)}; {RESTORE}") from error


def _require_plain(status: os.stat_result, path: Path, most: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path}: not a regular file, but a folder, pipe or device: {RESTORE}")
    if status.st_size > most:
        raise BundleError(
            f"{path}: damaged or replaced: {status.st_size} bytes, expected {most} at most; {RESTORE}"
        )
