"""Where pictures come from: a folder, a list of paths and URIs, or Parquet; each as a stream of entries."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from itl_infer.errors import ClusterError, reason_of
from itl_infer.image import IMAGE_SUFFIXES
from itl_infer.parquet.files import beside, find_filesystem, folder_of, shown
from itl_infer.system_files import system_file
from itl_infer.walk import Walk, is_excluded

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.fs import FileSystem

CONTENT = "bytes"  # the column of a table that holds pictures themselves
NAMES = ("uri", "path")  # columns of a table that say where a picture is, or was; the first that is there
_SPLITS = 16  # of a row group at most, as it can only be read from its start
_ROWS = 1024  # of a table, read at a time

Location = str | os.PathLike[str]


class Entry(NamedTuple):
    """A picture, or some rows of a table that holds pictures."""

    location: str
    row_group: int = -1  # of the table; -1: the location is a picture
    first: int = 0  # rows of that group, from `first` up to but without `end`
    end: int = 0

    @property
    def pictures(self) -> int:
        return 1 if self.row_group < 0 else self.end - self.first


@dataclass(frozen=True)
class Source:
    """Pictures to embed: the path or URI of one source, or the locations of pictures.

    `exclude`, `include_hidden` and `include_system` are for folders, as with `embed_directory`; `system` counts what
    the last walk left out as a system's own.
    """

    given: str | Iterable[Location]  # a path is absolute
    exclude: Sequence[str] = ()
    include_hidden: bool = False
    include_system: bool = False
    system: Counter[str] = field(default_factory=Counter, compare=False)

    @property
    def is_list(self) -> bool:
        """Whether it is a list, which a plan knows by its content."""
        return not isinstance(self.given, str) or self.given.lower().endswith(".txt")

    def __str__(self) -> str:
        return shown(self.given) if isinstance(self.given, str) else "the list of pictures"

    @property
    def folder(self) -> str:
        """The folder, where it is one of this machine's file system, and others may not have it; else nothing.

        Raises ClusterError where there is neither that nor a file.
        """
        if not isinstance(self.given, str) or "://" in self.given:
            return ""
        if not Path(self.given).exists():
            raise self._missing()
        return self.given if Path(self.given).is_dir() else ""

    def entries(self, most: int = 1) -> Iterator[Entry]:
        """In an order that is always the same; those of tables with `most` pictures, or a few times that.

        Raises ClusterError where the source cannot be read.
        """
        if not isinstance(self.given, str):
            yield from (Entry(absolute(location)) for location in self.given)
            return
        from pyarrow import ArrowException, fs

        self.system.clear()
        system, path = find_filesystem(self.given)
        try:
            info = system.get_file_info(path)
            if info.type == fs.FileType.NotFound:
                raise self._missing()
            if info.type == fs.FileType.Directory:
                yield from self._in_folder(system, path, most)
            elif path.lower().endswith(".txt"):
                yield from (Entry(location) for location in _lines(system, path, folder_of(self.given)))
            elif path.lower().endswith(".parquet"):
                yield from _in_table(system, path, self.given, most)
            elif _is_picture(path):
                yield Entry(self.given)
            else:
                raise ClusterError(
                    f"{self}: expected a folder, a picture, a .txt file of locations, or .parquet"
                )
        except (ArrowException, OSError) as error:
            raise ClusterError(f"{self}: cannot be read: {reason_of(error)}") from error

    def _missing(self) -> ClusterError:
        return ClusterError(f"{self}: no such file or folder: check the name")

    def digest(self) -> str:
        """What a list has in it, as one number."""
        digest = hashlib.sha256()
        for entry in self.entries():
            add_to_digest(digest, entry)
        return digest.hexdigest()

    def _in_folder(self, system: FileSystem, path: str, most: int) -> Iterator[Entry]:
        """Its pictures; or, where it has none, what its tables hold."""
        assert isinstance(self.given, str)
        found = False
        if system.type_name == "local":
            walk = Walk(Path(path), self.exclude, self.include_hidden, self.include_system)
            for file in walk:
                found = True
                yield Entry(file.path)
            self.system.update(walk.system)
            for folder, _ in walk.problems:  # its pictures are missing: that shows among what failed
                found = True
                yield Entry(folder)
        else:
            for name in self._walk(system, path, _is_picture):
                found = True
                yield Entry(beside(self.given, name))
        if not found:
            for name in self._walk(system, path, lambda name: name.lower().endswith(".parquet")):
                location = beside(self.given, name)
                yield from _in_table(system, find_filesystem(location)[1], location, most)

    def _walk(self, system: FileSystem, top: str, wanted: Any) -> Iterator[str]:
        """Names from `top` on, in the order of `Walk`; one folder at a time in memory."""
        from pyarrow import fs

        folders = [""]
        while folders:
            folder = folders.pop()
            listing = system.get_file_info(fs.FileSelector(f"{top.rstrip('/')}/{folder}".rstrip("/") or "/"))
            subfolders = []
            for info in sorted(listing, key=lambda info: info.base_name):
                name = f"{folder}{info.base_name}"
                if self._leaves_out(name):
                    continue
                if info.type == fs.FileType.Directory:
                    subfolders.append(f"{name}/")
                elif wanted(name):
                    yield name
            folders.extend(reversed(subfolders))

    def _leaves_out(self, path: str) -> bool:
        name = PurePosixPath(path).name
        if (kind := system_file(name)) is not None:
            if not self.include_system:
                self.system[kind] += 1
                return True
        elif not self.include_hidden and name.startswith("."):
            return True
        return is_excluded(name, path, self.exclude)


def absolute(location: Location, folder: str | None = None) -> str:
    """A location that means the same everywhere; relative ones are in `folder`, or where the program runs."""
    location = os.fspath(location)
    if "://" in location:
        return location
    if folder is not None and "://" in folder and not os.path.isabs(location):  # noqa: PTH117
        return beside(folder, location.replace(os.sep, "/"))
    return os.path.abspath(os.path.join(folder or "", location))  # noqa: PTH100, PTH118


def add_to_digest(digest: Any, entry: Entry) -> None:
    digest.update(os.fsencode(entry.location) + b"\0")


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _lines(system: FileSystem, path: str, folder: str) -> Iterator[str]:
    with system.open_input_stream(path) as stream:
        for line in io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="\n"):
            if location := line.rstrip("\r\n"):
                yield absolute(location, folder)


def _in_table(system: FileSystem, path: str, location: str, most: int) -> Iterator[Entry]:
    """Its locations one by one, or rows of pictures: these stay where they are."""
    from pyarrow import parquet

    with parquet.ParquetFile(path, filesystem=system) as file:
        column = picture_column(file.schema_arrow, location)
        if column == CONTENT:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                step = max(most, -(-rows // _SPLITS))
                for first in range(0, rows, step):
                    yield Entry(location, group, first, min(first + step, rows))
            return
        folder = folder_of(location)
        for batch in file.iter_batches(_ROWS, columns=[column]):
            for found in batch.column(0).to_pylist():
                yield Entry(absolute(found, folder) if found else "")


def picture_column(schema: Schema, table: str) -> str:
    """The column of a table that has its pictures, or says where they are. Raises ClusterError."""
    from pyarrow import types

    for name in (CONTENT, *NAMES):
        if name not in schema.names:
            continue
        kind = schema.field(name).type
        binary = types.is_binary(kind) or types.is_large_binary(kind)
        if binary if name == CONTENT else types.is_string(kind) or types.is_large_string(kind):
            return name
        expected = "binary" if name == CONTENT else "string"
        raise ClusterError(f"{shown(table)}: the column {name} is {kind}, expected {expected}")
    raise ClusterError(
        f"{shown(table)}: has the columns {', '.join(schema.names)[:200]}, expected {CONTENT} (pictures), {NAMES[0]}"
        f" or {NAMES[1]} (where they are)"
    )
