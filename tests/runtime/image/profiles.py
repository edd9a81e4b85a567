"""ICC profiles written byte by byte (ICC.1:2010, version 2), of which Pillow makes only sRGB and Lab."""

from __future__ import annotations

import struct

Rows = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

# Red, green and blue, each as XYZ under D50.
DISPLAY_P3: Rows = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE_RGB: Rows = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB: Rows = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
_D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries: Rows, gamma: float = 2.2) -> bytes:
    """Three primaries and a gamma."""
    tags = {name: _xyz(row) for name, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(gamma))
    return _profile(b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def cmyk_profile() -> bytes:
    """Inks that are nothing like Pillow's, as cyan and magenta change places: a table of Lab at their corners."""
    header = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", *[65536, 0, 0, 0] * 2, 65536)
    straight = bytes(range(256))
    corners = b"".join(_lab(m, c, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1))
    return _profile(b"CMYK", b"Lab ", {b"A2B0": header + straight * 4 + corners + straight * 3})


def _lab(cyan: int, magenta: int, yellow: int, black: int) -> bytes:
    """Roughly what such inks look like: L*, a* and b* in a byte each."""
    if black:
        return bytes([0, 128, 128])
    colours = {
        (0, 0, 0): (255, 128, 128),
        (1, 0, 0): (158, 80, 92),
        (0, 1, 0): (124, 202, 122),
        (0, 0, 1): (235, 122, 212),
        (1, 1, 0): (62, 150, 82),
        (1, 0, 1): (128, 62, 156),
        (0, 1, 1): (122, 196, 176),
        (1, 1, 1): (60, 128, 128),
    }
    return bytes(colours[cyan, magenta, yellow])


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    description = b"desc" + bytes(4) + struct.pack(">I", 6) + b"drawn\0" + bytes(8 + 2 + 1 + 67)
    tags = {b"desc": description, b"wtpt": _xyz(_D50), b"cprt": b"text" + bytes(4) + b"CC0\0", **tags}
    table, body = struct.pack(">I", len(tags)), b""
    at = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = at + len(body)
    header = struct.pack(
        ">I4sI4s4s4s", size, bytes(4), 0x02400000, b"prtr" if space == b"CMYK" else b"mntr", space, connection
    )
    header += bytes(12) + b"acsp" + bytes(28)
    return header + struct.pack(">3i", *(round(value * 65536) for value in _D50)) + bytes(48) + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256)) + bytes(2)
