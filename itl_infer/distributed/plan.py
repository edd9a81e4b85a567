"""What a run is to embed, in pieces of which each becomes one shard; kept beside the shards, so that it can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from itl_infer.distributed.files import find_filesystem, one_line, write_whole
from itl_infer.errors import ClusterError
from itl_infer.image import IMAGE_SUFFIXES
from itl_infer.ingest.walk import Walk

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from itl_infer.bundle import Bundle

_PLAN = "plan.parquet"
_ABOUT = b"itl_infer.plan"
NAMES = ("uri", "path")  # columns of a table that say where a picture is, the first that is there
CONTENT = "bytes"  # the column of a table that holds pictures themselves


class Entry(NamedTuple):
    """A picture, or some rows of a table of pictures."""

    location: str
    row_group: int = -1  # of the table; -1: the location is a picture
    first: int = 0  # rows of that group, from `first` up to but without `end`
    end: int = 0


@dataclass(frozen=True)
class Plan:
    """The pieces of a run; `open_plan` gives that of a folder."""

    system: FileSystem
    folder: str
    pieces: int
    pictures: int

    def read(self, piece: int) -> list[Entry]:
        """What a piece is made of; read when it is needed, as there may be a billion."""
        from pyarrow import parquet

        with parquet.ParquetFile(f"{self.folder}/{_PLAN}", filesystem=self.system) as file:
            rows = file.read_row_group(piece).to_pylist()
        return [Entry(os.fsdecode(row.pop("location")), **row) for row in rows]

    def count(self, pieces: Iterable[int]) -> int:
        """How many pictures these pieces have."""
        from pyarrow import parquet

        count = 0
        with parquet.ParquetFile(f"{self.folder}/{_PLAN}", filesystem=self.system) as file:
            for piece in pieces:
                for row in file.read_row_group(piece, ["first", "end"]).to_pylist():
                    count += max(1, row["end"] - row["first"])
        return count


def open_plan(out: str, source: str | Iterable[str], bundle: Bundle, shard_rows: int) -> Plan:
    """The plan of the folder `out`: the one that is there, if it is of this source and bundle, or a new one.

    `source` is a folder of pictures, a .txt file with a path or URI on each line, a Parquet file or a folder of
    such, or several paths and URIs of pictures. Raises ClusterError, also where nothing is to be embedded.
    """
    from pyarrow import ArrowException, parquet

    system, folder = find_filesystem(out)
    given = source if isinstance(source, str) else list(source)
    name = (
        given if isinstance(given, str) else f"{len(given)} pictures from {given[0] if given else 'nowhere'}"
    )
    about: dict[str, Any] = {"source": name, "bundle": bundle.fingerprint, "shard_rows": shard_rows}
    try:
        with parquet.ParquetFile(f"{folder}/{_PLAN}", filesystem=system) as file:
            kept = json.loads(file.schema_arrow.metadata[_ABOUT])
            pieces = file.num_row_groups
    except FileNotFoundError:
        return _write(system, folder, given, about)
    except (ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ClusterError(
            f"{out}: cannot be used: {one_line(error)}: name another folder with --out"
        ) from error
    for key, value in about.items():
        if kept.get(key) != value:
            raise ClusterError(
                f"{out}: was begun with {key.replace('_', ' ')} {str(kept.get(key))[:60]}, not {str(value)[:60]}:"
                " give the same again to go on, or another folder"
            )
    return Plan(system, folder, pieces, kept["pictures"])


def _write(system: FileSystem, folder: str, source: str | list[str], about: dict[str, Any]) -> Plan:
    """Write the plan, a row group for each piece."""
    import pyarrow
    from pyarrow import parquet

    groups: list[list[Entry]] = [[]]
    room = about["shard_rows"]
    pictures = 0
    for entry, count in _entries(source, about["shard_rows"]):
        if room < count:
            groups.append([])
            room = about["shard_rows"]
        groups[-1].append(entry)
        room -= count
        pictures += count
    if not pictures:
        raise ClusterError(f"{about['source']}: no pictures in there (JPEG, PNG, WebP, GIF, TIFF or BMP)")
    schema = pyarrow.schema(
        [
            ("location", pyarrow.binary()),
            *((name, pyarrow.int64()) for name in ("row_group", "first", "end")),
        ],
        metadata={_ABOUT: json.dumps(about | {"pictures": pictures})},
    )
    stream = pyarrow.BufferOutputStream()
    with parquet.ParquetWriter(stream, schema) as writer:
        for group in groups:
            locations = [os.fsencode(entry.location) for entry in group]
            numbers = list(zip(*(entry[1:] for entry in group), strict=True))
            writer.write_table(pyarrow.table([locations, *numbers], schema=schema))
    try:
        system.create_dir(folder)
        write_whole(system, f"{folder}/{_PLAN}", stream.getvalue())
    except OSError as error:
        raise ClusterError(f"{folder}: cannot be written: {one_line(error)}") from error
    return Plan(system, folder, len(groups), pictures)


def _entries(source: str | list[str], most: int) -> Iterator[tuple[Entry, int]]:
    """What there is to embed, with how many pictures each entry has: at most `most`."""
    if not isinstance(source, str):
        yield from ((Entry(location), 1) for location in source)
        return
    from pyarrow import fs

    system, path = find_filesystem(source)
    try:
        info = system.get_file_info(path)
        if info.type == fs.FileType.File and path.endswith(".txt"):
            with system.open_input_stream(path) as stream:
                lines = os.fsdecode(bytes(stream.read())).splitlines()
            yield from ((Entry(line.strip()), 1) for line in lines if line.strip())
            return
        if info.type == fs.FileType.NotFound:
            raise ClusterError(f"{source}: no such file or folder: check the name")
        if info.type == fs.FileType.File:
            files = [path]
        else:
            listing = system.get_file_info(fs.FileSelector(path, recursive=True))
            files = sorted(found.path for found in listing if found.type == fs.FileType.File)
    except OSError as error:
        raise ClusterError(f"{source}: cannot be listed: {one_line(error)}") from error
    pictures = [name for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    if pictures and system.type_name == "local":
        yield from ((Entry(found.path), 1) for found in Walk(Path(path)))  # as on one machine
        return
    before = _before_path(source, path)
    yield from ((Entry(before + name), 1) for name in pictures)
    for name in () if pictures else (name for name in files if name.endswith(".parquet")):
        yield from _rows_of(system, name, before + name, most)


def _before_path(uri: str, path: str) -> str:
    """What stands before a path of a file system in its URIs; nothing for a plain path."""
    if "://" not in uri:
        return ""
    whole, end = uri.rstrip("/"), path.rstrip("/")
    return whole.removesuffix(end) if whole.endswith(end) else f"{uri.partition('://')[0]}://"


def _rows_of(system: FileSystem, path: str, location: str, most: int) -> Iterator[tuple[Entry, int]]:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path, filesystem=system) as file:
            location_or_content(file.schema_arrow.names, location)
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                for first in range(0, rows, most):
                    end = min(first + most, rows)
                    yield Entry(location, group, first, end), end - first
    except (ArrowException, OSError) as error:
        raise ClusterError(f"{location}: cannot be read: {one_line(error)}") from error


def location_or_content(names: list[str], table: str) -> str:
    """The column of a table that has its pictures, or says where they are. Raises ClusterError."""
    for name in (CONTENT, *NAMES):
        if name in names:
            return name
    raise ClusterError(
        f"{table}: has the columns {', '.join(names)}, expected {CONTENT} (pictures), {NAMES[0]} or"
        f" {NAMES[1]} (where they are)"
    )
