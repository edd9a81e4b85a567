"""Find the picture files under a folder; each is entered once, hidden, excluded and a system's own ones are not."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

from itl_infer.errors import reason_of
from itl_infer.files import one_form
from itl_infer.image import IMAGE_SUFFIXES
from itl_infer.system_files import system_file

UNKNOWN = -1  # size and time of a file that cannot be asked for them


class FoundFile(NamedTuple):
    """A file named like a picture."""

    path: str  # absolute where the walk began at an absolute path
    size: int
    mtime_ns: int


class Exclusion(NamedTuple):
    """What is left out: what a glob fits in a folder and below it."""

    folder: str
    glob: str  # of a name, or of a whole path from the folder on, with "/"


class Entered(NamedTuple):
    """A folder as it was when it was entered."""

    inode: int
    is_mount: bool  # on another file system than the folder that it is in


@dataclass
class Walk:
    """A walk under one folder; iterate it for its files, in order of name within each folder.

    Links to folders are followed last, and only into folders that the walk has not entered by their own name:
    a link leads out of the tree, never round in it. `problems` fills with (folder, reason) for each folder
    that cannot be listed; what such a folder holds is unknown, not gone. `system` counts what was left out as a
    system's own, by `system_file`, and `entered` has every folder that was listed.
    """

    top: Path
    exclude: Sequence[str] = ()  # globs, of a name or of a whole path from `top` on with "/"
    include_hidden: bool = False
    include_system: bool = False
    exclusions: Sequence[Exclusion] = ()  # more, each from a folder of its own on
    problems: list[tuple[str, str]] = field(default_factory=list)
    system: Counter[str] = field(default_factory=Counter)
    entered: dict[str, Entered] = field(default_factory=dict)

    def __iter__(self) -> Iterator[FoundFile]:
        for found in (self.problems, self.system, self.entered):
            found.clear()
        leaves_out = self._rule()
        identities: set[tuple[int, int]] = set()
        folders, links = [(str(self.top), -1)], list[tuple[str, int]]()  # with the device of what they are in
        while folders or links:
            folder, device = folders.pop() if folders else links.pop(0)
            try:
                status = os.stat(folder)  # noqa: PTH116 (names here are plain strings, for speed)
                if (status.st_dev, status.st_ino) in identities:
                    continue
                identities.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except FileNotFoundError:
                continue  # removed since its parent was listed
            except OSError as error:
                self.problems.append((folder, f"cannot be listed: {reason_of(error)}"))
                continue
            self.entered[folder] = Entered(status.st_ino, device not in (-1, status.st_dev))
            subfolders: list[tuple[str, int]] = []
            for entry in entries:
                if leaves_out(entry):
                    continue
                if _is_folder(entry):
                    (links if entry.is_symlink() else subfolders).append((entry.path, status.st_dev))
                elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
                    yield from describe(entry, entry.path)
            folders.extend(reversed(subfolders))

    def _rule(self) -> Callable[[os.DirEntry[str]], bool]:
        exclusions = [*(Exclusion(str(self.top), glob) for glob in self.exclude), *self.exclusions]
        rules = [
            (os.path.join(rule.folder, ""), _matcher(rule.glob))  # noqa: PTH118
            for rule in dict.fromkeys(exclusions)
        ]

        def leaves_out(entry: os.DirEntry[str]) -> bool:
            if (kind := system_file(entry.name)) is not None:
                if not self.include_system:
                    self.system[kind] += 1
                    return True
            elif not self.include_hidden and _is_hidden(entry):
                return True
            return any(
                entry.path.startswith(start)
                and fits(entry.name, entry.path[len(start) :].replace(os.sep, "/"))
                for start, fits in rules
            )

        return leaves_out


def is_excluded(name: str, path: str, exclude: Sequence[str]) -> bool:
    """Whether a glob fits a name, or its path from the top of the walk on; accents may be written either way."""
    return any(_matcher(glob)(name, path) for glob in exclude)


def _matcher(glob: str) -> Callable[[str, str], bool]:
    fits = re.compile(translate(one_form(glob))).match

    def matches(name: str, path: str) -> bool:
        return bool(fits(one_form(name)) or fits(one_form(path)))

    return matches


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
