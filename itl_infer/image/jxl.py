"""What a JPEG XL file says of itself before anything is decoded; its plugin decodes all as soon as it opens it."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

_BARE = b"\xff\x0a"
_HEADER_BYTES = 32
# ISO 18181-1: widths are mostly a ratio of the height.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_LENGTHS = (9, 13, 18, 30)  # bits of a side's length


class Header(NamedTuple):
    """Of a codestream."""

    width: int  # before it is turned
    height: int
    orientation: int  # as EXIF counts; the decoder turns the picture by it


def read_header(file: BinaryIO) -> Header:
    """Raises ValueError for what is no JPEG XL."""
    file.seek(0)
    try:
        return _parse(_codestream(file))
    except struct.error as error:
        raise ValueError("a JPEG XL without its header") from error
    finally:
        file.seek(0)


def _codestream(file: BinaryIO) -> bytes:
    """Its first bytes, out of the container if there is one."""
    start = file.read(len(_BARE))
    file.seek(0)
    if start == _BARE:
        return file.read(_HEADER_BYTES)
    while True:
        at = file.tell()
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        if kind == b"jxlp":
            file.read(4)  # its number
        if kind in (b"jxlc", b"jxlp"):
            return file.read(_HEADER_BYTES)
        if size < 8:
            raise ValueError("a JPEG XL without a codestream")
        file.seek(at + size)


def _parse(stream: bytes) -> Header:
    if stream[:2] != _BARE or len(stream) < 14:
        raise ValueError("a JPEG XL without its header")
    bits = _Bits(int.from_bytes(stream[2:], "little"))
    is_small = bits.take(1)

    def length() -> int:
        return (bits.take(5) + 1) * 8 if is_small else bits.take(_LENGTHS[bits.take(2)]) + 1

    height = length()
    ratio = bits.take(3)
    width = height * _RATIOS[ratio][0] // _RATIOS[ratio][1] if ratio else length()
    is_default = bits.take(1)
    has_more = 0 if is_default else bits.take(1)
    return Header(width, height, bits.take(3) + 1 if has_more else 1)


class _Bits:
    """A number, taken from its lowest bit on."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken
