"""What is written of each picture, and what its checksum covers."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from itl_infer.index.names import make_name


class Picture(NamedTuple):
    """A file as it was when it was read."""

    root: int
    path: bytes
    size: int
    mtime_ns: int
    digest: bytes


def checksum(picture: Picture, vector: bytes) -> int:
    """CRC-32 over what must never change while a row counts: its vector, its name and its digest."""
    return zlib.crc32(vector + make_name(picture.root, picture.path) + picture.digest)


PICTURE_COLUMNS = "root, path, size, mtime_ns, digest"


class Record(NamedTuple):
    """What the database says of a row."""

    row: int
    state: int
    crc: int
    picture: Picture

    @property
    def is_proper(self) -> bool:
        """Whether every value is of the kind that its column has, and the state one that there is."""
        picture = self.picture
        numbers = (self.row, self.state, self.crc, picture.root, picture.size, picture.mtime_ns)
        return (
            all(type(number) is int for number in numbers)
            and self.state in (0, 1, 2)
            and isinstance(picture.path, bytes)
            and isinstance(picture.digest, bytes)
        )

    def fits(self, vector: bytes) -> bool:
        """Whether this row's checksum is that of its record and of this vector."""
        return self.is_proper and checksum(self.picture, vector) == self.crc


RECORDS = f"SELECT row, state, crc, {PICTURE_COLUMNS} FROM pictures"


def as_records(found: Iterable[tuple[Any, ...]]) -> Iterator[Record]:
    """The rows that a question gives which begins with RECORDS."""
    for row, state, crc, *picture in found:
        yield Record(row, state, crc, Picture(*picture))


class FailedFile(NamedTuple):
    """A file that could not be embedded, as it was then."""

    root: int
    path: bytes
    size: int
    mtime_ns: int
    digest: bytes | None  # None: it could not be read
    error: str
    max_megapixels: float  # the limit of that run
