"""What an index keeps of each picture besides its embedding: records of one length, a row each, mapped from the disk.

What a record names by number stands in tables of the database, to which lines are only ever added: cameras, folders.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from itl_infer.files import sync, sync_folder
from itl_infer.image import Facts
from itl_infer.index import schema
from itl_infer.index.damage import all_typed
from itl_infer.index.disk import map_file, store_errors
from itl_infer.index.plain import make_anew, open_plain, size_of
from itl_infer.index.schema import State

RECORD = np.dtype(
    [
        ("taken", "<i8"),  # seconds of the clock where it was taken, from 1970 on; NO_DATE
        ("phash", "<u8"),
        ("width", "<u4"),  # as it is displayed
        ("height", "<u4"),
        ("folder", "<u4"),  # id in the table `folders`
        ("camera", "<u4"),  # id in the table `cameras`; 0 none
        ("flags", "<u4"),
        ("crc", "<u4"),  # CRC-32 of what is before it
    ]
)
KNOWN, OF_FILE, GPS, ASCII_NAME = (
    1,
    2,
    4,
    8,
)  # flags: read; dated by its file; says where; name of ASCII alone
NO_DATE = np.iinfo(np.int64).min
NOTHING = bytes(RECORD.itemsize)  # of a picture that was embedded before there were records

Records: TypeAlias = npt.NDArray[np.void]

_EPOCH = datetime(1970, 1, 1)
_WIDEST = 2**32 - 1


def to_seconds(moment: datetime) -> int:
    """As records have it."""
    return (moment - _EPOCH) // timedelta(seconds=1)


def date_of_file(mtime_ns: int) -> datetime | None:
    """By the clock of this machine; None for what no clock shows."""
    try:
        return datetime.fromtimestamp(mtime_ns // 10**9)
    except (ValueError, OverflowError, OSError):
        return None


def pack(facts: Facts, folder: int, camera: int, *, is_ascii: bool) -> bytes:
    """The record of a picture."""
    flags = KNOWN | OF_FILE * facts.is_file_date | GPS * facts.has_gps | ASCII_NAME * is_ascii
    taken = NO_DATE if facts.taken is None else to_seconds(facts.taken)
    sides = min(facts.width, _WIDEST), min(facts.height, _WIDEST)
    record = np.array([(taken, facts.phash, *sides, folder, camera, flags, 0)], RECORD)
    record["crc"] = _crc(record.tobytes())
    return record.tobytes()


def are_whole(records: Records) -> npt.NDArray[np.bool_]:
    """Whether each of (N,) records is as it was written, (N,)."""
    content, size = records.tobytes(), RECORD.itemsize
    sums = [_crc(content[start : start + size]) for start in range(0, len(content), size)]
    are: npt.NDArray[np.bool_] = (records["crc"] == np.array(sums, np.uint32)) | (
        records == np.zeros(1, RECORD)
    )
    return are


def _crc(record: bytes) -> int:
    return zlib.crc32(record[:-4])


def make_file(folder: Path, state: State) -> None:
    """The file of records of an index that had none: nothing is known of any row."""
    with make_anew(state.facts_file(folder)) as file:
        file.truncate(state.rows * RECORD.itemsize)
        sync(file)
    sync_folder(folder)


def map_records(folder: Path, state: State, *, private: bool) -> Records:
    """(rows,) records, `private` ones may be changed, in memory only; of nothing where the file is cut short.

    Raises FileNotFoundError where there is none. `check` tells either.
    """
    path, length = state.facts_file(folder), state.rows * RECORD.itemsize
    if path.exists() and size_of(path) < length:
        return np.zeros(state.rows, RECORD)
    return np.frombuffer(map_file(path, length, private=private), RECORD)


def read_records(folder: Path, state: State) -> Records:
    """(rows,) records that may be changed, of nothing where the file is missing or cut: for repairs."""
    path, length = state.facts_file(folder), state.rows * RECORD.itemsize
    content = b""
    if size_of(path):
        with open_plain(path) as file:
            content = file.read(length)
    return np.frombuffer(bytearray(content.ljust(length, b"\0")), RECORD)


class FactsOfRows(Sequence["Facts | None"]):
    """The facts at each position of a view; None where they were not read yet.

    `folder` is where the index is, None for one that has no tables of cameras and folders.
    """

    def __init__(self, folder: Path | None, records: Records) -> None:
        self.records = records
        self._folder = folder
        self._cameras: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, position: int) -> Facts | None: ...
    @overload
    def __getitem__(self, position: slice) -> list[Facts | None]: ...
    def __getitem__(self, position: int | slice) -> Facts | list[Facts | None] | None:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        record = self.records[position]
        camera = int(record["camera"])
        if camera and camera not in self._cameras:
            self._cameras = self.cameras()
        return unpack(record, self._cameras.get(camera, ""))

    def missing(self) -> int:
        """How many have not been read yet."""
        return int(np.count_nonzero(self.records["flags"] & KNOWN == 0))

    def cameras(self) -> dict[int, str]:
        """All cameras that the index has ever known, by number."""
        return dict(self._table("SELECT id, name FROM cameras", int, str))

    def folders(self) -> list[tuple[int, int, bytes]]:
        """All folders that the index has ever known: number, root, path from there on."""
        return self._table("SELECT id, root, path FROM folders", int, int, bytes)

    def _table(self, query: str, *kinds: type) -> list[Any]:
        if self._folder is None:
            return []
        with store_errors(self._folder), schema.reading(self._folder) as connection:
            return all_typed(connection.execute(query).fetchall(), *kinds)


def unpack(record: Any, camera: str) -> Facts | None:
    """What a record says; None where it says nothing."""
    seconds, phash, width, height, _, _, flags, _ = record.item()
    if not flags & KNOWN:
        return None
    taken = None
    if seconds != NO_DATE:
        with contextlib.suppress(OverflowError):  # damage: `check` says so
            taken = _EPOCH + timedelta(seconds=seconds)
    return Facts(width, height, taken, camera, bool(flags & GPS), phash, bool(flags & OF_FILE))
