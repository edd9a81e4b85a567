"""Find the picture files under a folder; each folder is entered once, hidden and excluded ones are not."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from itl_infer.errors import reason_of
from itl_infer.image import IMAGE_SUFFIXES

UNKNOWN = -1  # size and time of a file that cannot be asked for them


class FoundFile(NamedTuple):
    """A file named like a picture."""

    path: str  # absolute where the walk began at an absolute path
    size: int
    mtime_ns: int


@dataclass
class Walk:
    """A walk under one folder; iterate it for its files, in order of name within each folder.

    Links to folders are followed last, and only into folders that the walk has not entered by their own name:
    a link leads out of the tree, never round in it. `problems` fills with (folder, reason) for each folder
    that cannot be listed; what such a folder holds is unknown, not gone.
    """

    top: Path
    exclude: Sequence[str] = ()  # globs, of a name or of a whole path from `top` on with "/"
    include_hidden: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)

    def __iter__(self) -> Iterator[FoundFile]:
        self.problems.clear()
        entered: set[tuple[int, int]] = set()
        folders, links = [str(self.top)], list[str]()
        while folders or links:
            folder = folders.pop() if folders else links.pop(0)
            try:
                status = os.stat(folder)  # noqa: PTH116 (names here are plain strings, for speed)
                if (status.st_dev, status.st_ino) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except FileNotFoundError:
                continue  # removed since its parent was listed
            except OSError as error:
                self.problems.append((folder, f"cannot be listed: {reason_of(error)}"))
                continue
            subfolders: list[str] = []
            for entry in entries:
                if self._leaves_out(entry):
                    continue
                if _is_folder(entry):
                    (links if entry.is_symlink() else subfolders).append(entry.path)
                elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
                    yield from describe(entry, entry.path)
            folders.extend(reversed(subfolders))

    def _leaves_out(self, entry: os.DirEntry[str]) -> bool:
        if not self.include_hidden and _is_hidden(entry):
            return True
        if not self.exclude:
            return False
        path = Path(entry.path).relative_to(self.top).as_posix()
        return is_excluded(entry.name, path, self.exclude)


def is_excluded(name: str, path: str, exclude: Sequence[str]) -> bool:
    """Whether a glob fits a name, or its path from the top of the walk on."""
    return any(fnmatchcase(text, glob) for glob in exclude for text in (name, path))


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return True
    if sys.platform == "win32":
        return bool(entry.stat(follow_symlinks=False).st_file_attributes & stat.FILE_ATTRIBUTE_HIDDEN)
    return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def describe(file: os.DirEntry[str] | Path, path: str) -> Iterator[FoundFile]:
    """A file as it is now; nothing where it was removed since its name was read."""
    try:
        status = file.stat()
    except OSError as error:
        if file.is_symlink() or not isinstance(error, FileNotFoundError):
            yield FoundFile(path, UNKNOWN, UNKNOWN)
    else:
        yield FoundFile(path, status.st_size, status.st_mtime_ns)
