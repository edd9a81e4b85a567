"""What a TIFF's first directory says of the memory and work that decoding takes, before anything of it is decoded.

TIFF 6.0, and BigTIFF. What cannot be read is left to the decoder, which says so.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, NamedTuple

_WIDTHS = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 258, 277, 278, 322, 323
_LENGTHS = (279, 325)  # in bytes, of strips and of tiles
_MOST_PARTS = 2**17  # strips or tiles whose lengths are added up
_ENTRIES = 2**12  # looked at


class Cost(NamedTuple):
    """Of decoding the first picture of a TIFF."""

    width: int
    height: int
    part_bytes: int  # of its largest strip or tile, decoded
    read_bytes: int  # that are read for all of its parts, a shared one again for each
    tag_bytes: int  # of what the directory holds


def estimate(file: BinaryIO) -> Cost | None:
    """None for what has no directory that can be read; the file is at its start then as before."""
    try:
        return _estimate(file)
    except (struct.error, OverflowError, ValueError, MemoryError):
        return None
    finally:
        file.seek(0)


def _estimate(file: BinaryIO) -> Cost | None:
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    is_big = struct.unpack_from(f"{order}H", head, 2)[0] == 43
    count, entry, place = ("Q", "HHQ8s", 8) if is_big else ("H", "HHI4s", 4)
    (first,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", head, place)
    file.seek(first)
    (entries,) = struct.unpack(f"{order}{count}", file.read(struct.calcsize(count)))
    step = struct.calcsize(f"={entry}")
    listed = file.read(step * min(entries, _ENTRIES))
    values: dict[int, list[int]] = {}
    tag_bytes = read_bytes = 0
    for tag, kind, number, value in struct.iter_unpack(
        f"{order}{entry}", listed[: len(listed) // step * step]
    ):
        size = _WIDTHS.get(kind, 0) * number
        if size > len(value):
            tag_bytes += min(size, end)
        if kind not in _NUMBERS or not number:
            continue
        if tag in _LENGTHS:
            read_bytes += sum(_array(file, order, kind, number, value, end))
        elif tag in (_WIDTH, _HEIGHT, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_HEIGHT):
            values[tag] = _array(file, order, kind, 1, value, end)
        elif tag == _BITS:
            values[tag] = _array(file, order, kind, min(number, 4), value, end)

    def first_of(tag: int, default: int) -> int:
        return (values.get(tag) or [default])[0]

    width, height = first_of(_WIDTH, 0), first_of(_HEIGHT, 0)
    bits = max(values.get(_BITS) or [1]) * first_of(_SAMPLES, 1)
    across = first_of(_TILE_WIDTH, width)
    down = first_of(_TILE_HEIGHT, min(first_of(_ROWS, height), height))
    return Cost(width, height, across * down * bits // 8, read_bytes, tag_bytes)


def _array(file: BinaryIO, order: str, kind: int, number: int, value: bytes, end: int) -> list[int]:
    """Numbers of an entry, in it or where it says that they are."""
    width = _WIDTHS[kind]
    if number > _MOST_PARTS:
        return [end * _MOST_PARTS]  # more than anything that is worth it
    size = width * number
    if size > len(value):
        file.seek(struct.unpack(f"{order}{'Q' if len(value) == 8 else 'I'}", value)[0])
        value = file.read(size)
    there = min(number, len(value) // width)
    return list(struct.unpack_from(f"{order}{there}{_NUMBERS[kind]}", value))
