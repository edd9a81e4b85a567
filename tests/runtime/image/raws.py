"""DNG files of a camera that nobody built, written entry by entry: Adobe's DNG 1.4 on TIFF 6.0."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}  # bytes of a value, by TIFF's number of its type
_CODES = {1: "B", 3: "H", 4: "I"}
BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL = 1, 2, 3, 4, 5, 10

Entry = tuple[int, int, Sequence[int] | bytes]  # tag, type, values


def dng(scene: Image.Image, *, preview: Image.Image | None, orientation: int = 1, exif: bytes = b"") -> bytes:
    """A DNG that begins with a tiny thumbnail, with the scene as a sensor saw it, and a JPEG preview or none."""
    thumbnail = scene.resize((32, 24)).convert("RGB")
    main: list[Entry] = [
        (254, LONG, [1]),
        *_size(thumbnail),
        (258, SHORT, [8, 8, 8]),
        (259, SHORT, [1]),
        (262, SHORT, [2]),
        (271, ASCII, b"Nobody\0"),
        (272, ASCII, b"Camera of paper\0"),
        (274, SHORT, [orientation]),
        (277, SHORT, [3]),
        (50706, BYTE, [1, 4, 0, 0]),
        (50707, BYTE, [1, 1, 0, 0]),
        (50708, ASCII, b"Camera of paper\0"),
        (50721, SRATIONAL, _rationals([3.24, -1.54, -0.5, -0.97, 1.88, 0.04, 0.06, -0.2, 1.06])),
        (50728, RATIONAL, _rationals([1, 1, 1])),
        (50778, SHORT, [21]),
    ]
    sensor: list[Entry] = [
        (254, LONG, [0]),
        *_size(scene),
        (258, SHORT, [16]),
        (259, SHORT, [1]),
        (262, SHORT, [32803]),
        (277, SHORT, [1]),
        (33421, SHORT, [2, 2]),
        (33422, BYTE, [0, 1, 1, 2]),
        (50714, SHORT, [0]),
        (50717, SHORT, [65535]),
    ]
    parts = [(sensor, _mosaic(scene))]
    if preview is not None:
        content = io.BytesIO()
        preview.convert("RGB").save(content, "JPEG", quality=95, exif=exif)
        entries: list[Entry] = [
            (254, LONG, [1]),
            *_size(preview),
            (258, SHORT, [8, 8, 8]),
            (259, SHORT, [7]),
            (262, SHORT, [6]),
            (277, SHORT, [3]),
        ]
        parts.append((entries, content.getvalue()))
    return _tiff((main, thumbnail.tobytes()), parts)


def _size(image: Image.Image) -> list[Entry]:
    return [(256, LONG, [image.width]), (257, LONG, [image.height])]


def _rationals(values: Sequence[float]) -> list[int]:
    return [part for value in values for part in (round(value * 10_000), 10_000)]


def _mosaic(scene: Image.Image) -> bytes:
    """One sample a pixel, red, green, green and blue in turn; linear, as a sensor is."""
    linear = (np.asarray(scene.convert("RGB")) / 255.0) ** 2.2
    samples = linear[..., 1].copy()
    samples[::2, ::2], samples[1::2, 1::2] = linear[::2, ::2, 0], linear[1::2, 1::2, 2]
    return (samples * 60_000).astype("<u2").tobytes()


def _tiff(main: tuple[list[Entry], bytes], parts: list[tuple[list[Entry], bytes]]) -> bytes:
    """A little-endian TIFF; `parts` become the subdirectories of `main`, with one strip each."""
    out = bytearray(b"II*\0\0\0\0\0")
    offsets = [_directory(out, *part) for part in parts]
    first = _directory(out, [*main[0], (330, LONG, offsets)], main[1])
    out[4:8] = struct.pack("<I", first)
    return bytes(out)


def _directory(out: bytearray, entries: list[Entry], strip: bytes) -> int:
    at = len(out)
    out += strip + b"\0" * (len(strip) % 2)
    (height,) = next(values for tag, _, values in entries if tag == 257)
    strips: list[Entry] = [(273, LONG, [at]), (278, LONG, [height]), (279, LONG, [len(strip)])]
    fields = b""
    for tag, kind, values in sorted([*entries, *strips]):
        if isinstance(values, bytes):
            packed, count = values, len(values)
        else:
            packed = struct.pack(
                f"<{len(values)}{_CODES.get(kind, 'i' if kind == SRATIONAL else 'I')}", *values
            )
            count = len(packed) // _SIZES[kind]
        if len(packed) > 4:
            at = len(out)
            out += packed + b"\0" * (len(packed) % 2)
            packed = struct.pack("<I", at)
        fields += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    at = len(out)
    out += struct.pack("<H", len(fields) // 12) + fields + struct.pack("<I", 0)
    return at
