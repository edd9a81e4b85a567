"""What a run is to embed, in pieces of which each becomes one shard; kept beside the shards, so that it can go on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from itl_infer.distributed.source import Entry, Source, add_to_digest
from itl_infer.errors import ClusterError, reason_of
from itl_infer.image.formats import describe_formats
from itl_infer.parquet.files import find_filesystem, is_file, is_partial, shown, write_whole

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from itl_infer.bundle import Bundle

_PLAN = "_plan"  # Parquet, under a name that those who read the folder as a table leave alone
_ABOUT = b"itl_infer.plan"
_BLOCK = 2**20  # bytes copied at a time
# Shards grow with their number: a thousand pictures are soon done again, and a billion make no million files.
_FEWEST_ROWS, _MOST_ROWS, _DOUBLED_AFTER = 2**10, 2**16, 2**10


class Plan(NamedTuple):
    """The pieces of a run."""

    pieces: list[int]  # pictures of each
    system_files: dict[str, int]  # what was left out as a system's own


class PlanFile:
    """The plan of a folder of shards, to read pieces of it; there may be a billion pictures in it."""

    def __init__(self, system: FileSystem, folder: str) -> None:
        """Raises OSError, FileNotFoundError where there is none."""
        from pyarrow import parquet

        self._file = parquet.ParquetFile(f"{folder}/{_PLAN}", filesystem=system)

    def read(self, piece: int) -> list[Entry]:
        rows = self._file.read_row_group(piece).to_pylist()
        return [Entry(os.fsdecode(row.pop("location")), **row) for row in rows]

    def about(self) -> dict[str, Any]:
        """What the run was begun with. Raises KeyError, TypeError or ValueError where it is no plan."""
        about: dict[str, Any] = json.loads(self._file.metadata.metadata[_ABOUT])
        return about


def find_plan(system: FileSystem, folder: str) -> Plan | None:
    """The plan that is there. Raises ClusterError where it cannot be read."""
    about = _about(system, folder)
    return None if about is None else Plan(about["pieces"], about.get("system files", {}))


def open_plan(out: str, source: Source, bundle: Bundle, shard_rows: int | None) -> Plan:
    """The plan of the folder `out`: the one that is there, if it is of this source and bundle, or a new one.

    Raises ClusterError, also where nothing is to be embedded.
    """
    system, folder = find_filesystem(out)
    settings = {
        "bundle": bundle.fingerprint,
        "source": str(source),
        "shard rows": shard_rows,
        "exclude": list(source.exclude),
        "include hidden": source.include_hidden,
        "include system": source.include_system,
    }
    about = _about(system, folder)
    if about is None:
        _require_empty(system, folder, out)
        return _write(system, folder, source, settings, out)
    for name, wish in settings.items():
        if about.get(name, False) != wish:  # one of an earlier version knows less
            raise ClusterError(
                f"{shown(out)}: was begun with {name} {_short(about.get(name))}, not {_short(wish)}:"
                " give the same again to go on, or another --out"
            )
    if source.is_list and source.digest() != about["digest"]:
        raise ClusterError(
            f"{shown(out)}: was begun with other pictures in {source}: give the same again to go on, or another --out"
        )
    return Plan(about["pieces"], about.get("system files", {}))


def _about(system: FileSystem, folder: str) -> dict[str, Any] | None:
    from pyarrow import ArrowException

    try:
        return PlanFile(system, folder).about() if is_file(system, f"{folder}/{_PLAN}") else None
    except (ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ClusterError(
            f"{folder}/{_PLAN}: cannot be read: {reason_of(error)}: give another --out"
        ) from error


def _require_empty(system: FileSystem, folder: str, out: str) -> None:
    from pyarrow import ArrowException, fs

    try:
        listing = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    except (ArrowException, OSError) as error:
        raise ClusterError(f"{shown(out)}: cannot be used: {reason_of(error)}: give another --out") from error
    names = sorted(info.base_name for info in listing)
    if others := [name for name in names if not (name.startswith(".") or is_partial(name))]:
        raise ClusterError(
            f"{shown(out)}: holds something else ({others[0]}): give a folder that is empty, or not there yet"
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:12]}...{text[-45:]}"


def _write(system: FileSystem, folder: str, source: Source, settings: dict[str, Any], out: str) -> Plan:
    """Write the plan, a row group for each piece; one piece at a time in memory."""
    import pyarrow
    from pyarrow import parquet

    numbers = [(name, pyarrow.int64()) for name in ("row_group", "first", "end")]
    schema = pyarrow.schema([("location", pyarrow.binary()), *numbers])
    pieces: list[int] = []
    digest = hashlib.sha256()
    try:
        with tempfile.TemporaryFile() as file:
            # Names stand in order, and mostly begin as the one before.
            coding = {"use_dictionary": False, "column_encoding": {"location": "DELTA_BYTE_ARRAY"}}
            with parquet.ParquetWriter(file, schema, compression="zstd", **coding) as writer:
                for piece in _pieces(source, settings["shard rows"]):
                    for entry in piece:
                        add_to_digest(digest, entry)
                    locations = [os.fsencode(entry.location) for entry in piece]
                    columns = list(zip(*(entry[1:] for entry in piece), strict=True))
                    table = pyarrow.table([locations, *columns], schema=schema)
                    writer.write_table(table, row_group_size=len(piece))
                    pieces.append(sum(entry.pictures for entry in piece))
                system_files = dict(source.system.most_common())
                about = {
                    **settings,
                    "digest": digest.hexdigest(),
                    "pieces": pieces,
                    "system files": system_files,
                }
                writer.add_key_value_metadata({_ABOUT: json.dumps(about).encode()})
            if not pieces:
                raise ClusterError(f"{source}: no pictures in there ({describe_formats()})")
            file.seek(0)
            system.create_dir(folder)
            write_whole(system, f"{folder}/{_PLAN}", iter(lambda: file.read(_BLOCK), b""))
    except OSError as error:
        raise ClusterError(
            f"{shown(out)}: cannot be written: {reason_of(error)}: see that it can be, or give another --out"
        ) from error
    return Plan(pieces, system_files)


def _pieces(source: Source, shard_rows: int | None) -> Iterator[list[Entry]]:
    """The entries, together as they are done together."""
    made, pictures = 0, 0
    piece: list[Entry] = []
    for entry in source.entries(shard_rows or _FEWEST_ROWS):
        room = shard_rows or min(_MOST_ROWS, _FEWEST_ROWS << made // _DOUBLED_AFTER)
        if piece and pictures + entry.pictures > room:
            yield piece
            made, pictures, piece = made + 1, 0, []
        piece.append(entry)
        pictures += entry.pictures
    if piece:
        yield piece
