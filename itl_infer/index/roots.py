"""Folders that an index remembers, written down so that an index travels together with its pictures."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from itl_infer.errors import IndexStoreError

_LONGEST_LOCATION = 2**15  # bytes
# What no file below a folder has in its path: empty parts, "." and "..", and where they mean something, "\\" and ":".
_LEADS_OUT = re.compile(rb"(?:^|/)\.{0,2}(?:/|\Z)|\0" + (rb"|[\\:]" if os.name == "nt" else b""))


@dataclass(frozen=True)
class Root:
    """A remembered folder: its number in the index, and where it is for this reader."""

    id: int
    folder: Path  # absolute
    is_whole: bool  # embedded as a folder, not only single files of it

    def is_missing(self) -> bool:
        """Whether the folder is not there, or empty, as where a drive is not plugged in."""
        try:
            return next(self.folder.iterdir(), None) is None
        except OSError:
            return True

    def locate(self, path: bytes) -> str:
        """The absolute path, in the system's own manner, of a picture stored with this root.

        Raises IndexStoreError for a path that leads out of it, which no writer of ours stores.
        """
        if _LEADS_OUT.search(path):
            raise IndexStoreError(
                f"{self.folder}: the index has a path in it that leads elsewhere, {os.fsdecode(path)[:200]!r}: embed it"
                " again into a new index"
            )
        return os.path.join(self.folder, *os.fsdecode(path).split("/"))  # noqa: PTH118 (names are not always UTF-8)

    def has_file(self, path: bytes) -> bool | None:
        """Whether a picture stored with this root is there; None where that cannot be found out now."""
        try:
            return not stat.S_ISDIR(os.stat(self.locate(path)).st_mode)  # noqa: PTH116 (for speed)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return None


def store_location(folder: Path, index_folder: Path) -> bytes:
    """How an index writes down a root: from the index on where they travel together, else absolute.

    They do where the root lies in the folder that holds the index, or the index in the root.
    """
    folder, index_folder = real_path(folder), real_path(index_folder)
    if folder.is_relative_to(index_folder.parent) or index_folder.is_relative_to(folder):
        return os.fsencode(os.path.relpath(folder, index_folder).replace(os.sep, "/"))
    return os.fsencode(folder.as_posix())


def is_location(location: object) -> bool:
    """Whether a root may be written down so."""
    return isinstance(location, bytes) and b"\0" not in location and 0 < len(location) <= _LONGEST_LOCATION


def resolve_location(location: bytes, index_folder: Path) -> Path:
    """Where a stored root is for this reader, absolute, whether it exists or not."""
    return Path(os.path.normpath(real_path(index_folder) / os.fsdecode(location)))


def stored_path(path: Path, root: Root) -> bytes:
    """The path from a root on as the index writes it; empty for the root itself."""
    return os.fsencode(path.relative_to(root.folder).as_posix()) if path != root.folder else b""


def real_path(path: Path) -> Path:
    """One name for one folder: absolute, links followed, whether it exists or not."""
    return Path(os.path.realpath(path))
