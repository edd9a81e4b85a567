"""What a WebP file says of its size before it is opened; its reader makes room for all of it when it does that."""

from __future__ import annotations

from typing import BinaryIO


def read_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height (RFC 9649); None where they are not to be found. The file is at its start then as before."""
    head = file.read(30)
    file.seek(0)
    kind = head[12:16]
    if len(head) < 30:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None
