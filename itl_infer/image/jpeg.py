"""JPEGs: decoded smaller where that does, and what those cost that come in scans."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, BinaryIO

from itl_infer.image.admission import BYTES_PER_PIXEL

if TYPE_CHECKING:
    from PIL import Image

_COEFFICIENT_BYTES = 2  # of a JPEG that comes in scans, all of which are in memory at once
_BLOCK_PIXELS = 64
_SCAN = b"\xff\xda"
_READ = 2**20  # bytes at a time


def is_jpeg(image: Image.Image) -> bool:
    return image.format in ("JPEG", "MPO")


def draft(image: Image.Image, side: int | None, max_megapixels: float) -> None:
    """Decode at 1/2, 1/4 or 1/8 while both sides stay as long as what is needed. Far faster, and smaller."""
    if not is_jpeg(image):
        return
    if side is not None:
        image.draft(None, (side, side))
        return
    too_many = image.width * image.height / (max_megapixels * 1e6)
    if too_many > 1:  # a smaller one is better than none
        scale = 2 ** math.ceil(math.log2(too_many) / 2)
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))


def pixels_in_memory(image: Image.Image, full_size: tuple[int, int]) -> float:
    """How many pixels the memory that decoding takes would be enough for."""
    pixels = float(image.width * image.height)
    if not image.info.get("progressive") or not is_jpeg(image):
        return pixels
    return max(pixels, _samples(image, full_size) * _COEFFICIENT_BYTES / BYTES_PER_PIXEL)


def blocks_in_scans(image: Image.Image, full_size: tuple[int, int], file: BinaryIO) -> float:
    """How many blocks are gone through: all of them in each scan, however little it says of them."""
    if not image.info.get("progressive") and _is_in_one_scan(image, file):
        return 0.0
    return _samples(image, full_size) / _BLOCK_PIXELS * _count_scans(file)


def _samples(image: Image.Image, full_size: tuple[int, int]) -> float:
    """Of brightness and colours, which may have fewer."""
    layers = [(across, down) for _, across, down, _ in getattr(image, "layer", ())] or [(1, 1)] * 3
    most = max(across for across, _ in layers) * max(down for _, down in layers)
    samples: float = (
        full_size[0] * full_size[1] * sum(across * down for across, down in layers) / max(1, most)
    )
    return samples


def _is_in_one_scan(image: Image.Image, file: BinaryIO) -> bool:
    """Whether the first scan, up to whose data the file has been read, is of all layers."""
    layers = len(getattr(image, "layer", ()))
    place, length = file.tell(), 2 * layers + 6
    file.seek(max(0, place - length - 2))
    head = file.read(5)
    file.seek(place)
    return head == _SCAN + bytes([0, length, layers])


def _count_scans(file: BinaryIO) -> int:
    """At most so many: some of it may be in a note."""
    place = file.tell()
    file.seek(0)
    found, before = 0, b""
    while block := file.read(_READ):
        found += (before + block).count(_SCAN)
        before = block[-1:]
    file.seek(place)
    return found
