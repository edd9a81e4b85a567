"""What is written of each picture, and what its checksum covers."""

from __future__ import annotations

import zlib
from typing import NamedTuple

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


class FailedFile(NamedTuple):
    """A file that could not be embedded, as it was then."""

    root: int
    path: bytes
    size: int
    mtime_ns: int
    digest: bytes | None  # None: it could not be read
    error: str
    max_megapixels: float  # the limit of that run
