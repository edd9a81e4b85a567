"""A PNG without its texts, for those that have more than Pillow lets into memory."""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

_REFUSALS = (
    "MAX_TEXT_CHUNK",
    "MAX_TEXT_MEMORY",
    "Decompressed data too large",
    "memory used in text chunks",
)  # Pillow's
_SIGNATURE = 8  # bytes
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_LONGEST_PROFILE = 2**20  # bytes; Pillow refuses the picture for a longer one
_BLOCK = 2**20


def has_too_much_text(error: Exception) -> bool:
    """Whether that is why Pillow refused a picture."""
    return isinstance(error, ValueError) and any(words in str(error) for words in _REFUSALS)


def without_texts(file: BinaryIO) -> BinaryIO:
    """The picture alone: no text chunk, nor a colour profile that is too long."""
    file.seek(0)
    kept = io.BytesIO(file.read(_SIGNATURE))
    kept.seek(0, io.SEEK_END)
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind in _TEXTS:
            file.seek(length + 4, io.SEEK_CUR)
            continue
        if kind == b"iCCP" and length <= _LONGEST_PROFILE:
            body = file.read(length + 4)
            if _is_short(body[:-4]):
                kept.write(header + body)
            continue
        kept.write(header)
        left = length + 4
        while left and (block := file.read(min(left, _BLOCK))):
            kept.write(block)
            left -= len(block)
    kept.seek(0)
    return kept


def _is_short(profile: bytes) -> bool:
    """Whether a chunk of a profile (name, 0, method, compressed) stays within the limit when it is unpacked."""
    try:
        packed = profile[profile.index(b"\0") + 2 :]
        return len(zlib.decompressobj().decompress(packed, _LONGEST_PROFILE + 1)) <= _LONGEST_PROFILE
    except (ValueError, zlib.error):
        return False
