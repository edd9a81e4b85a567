"""Files that are cut at their end: which of their rows are there, and a picture of just these.

What is missing is found out by decoding twice, over two grounds: where both show the same, it was in the file. The
ground is the memory that a decoder fills, or, for decoders that refuse a file which is not whole, bytes in its place.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.image.formats import AVIF, HEIC, JPEG, WEBP, Format

if TYPE_CHECKING:
    from PIL import Image

_GROUNDS = (0x00, 0x11, 0x55, 0xAA, 0xFF)  # decoders refuse some
_LEAST = 0.5  # of a picture
_GREY: dict[str, int | tuple[int, ...]] = {
    **{"1": 1, "L": 128, "LA": (128, 255), "I;16": 32768, "RGB": (128, 128, 128)},
    **{"RGBA": (128, 128, 128, 255), "CMYK": (0, 0, 0, 127)},
}
_ROWS = 64  # looked at together
_FREQUENCIES = 64  # of a JPEG's blocks
_BARE_MARKERS = (0x00, 0x01, *range(0xD0, 0xD8))  # of a JPEG, without a length behind them
_SCAN, _PROGRESSIVE_FRAME, _END_OF_IMAGE = b"\xda", b"\xc2", b"\xff\xd9"

Open = Callable[[BinaryIO], "Image.Image"]


class Part(NamedTuple):
    """What is there of a picture."""

    image: Image.Image | None  # None: less than half
    share: float  # of its rows, 0 to 1; of a picture that comes in ever finer scans, of its frequencies
    note: str


def rescue(file: BinaryIO, form: Format | None, open_again: Open, error: Exception) -> Part | None:
    """What is there of a picture that could not be decoded for `error`; None where its file is not cut at its end."""
    if form in (WEBP, AVIF, HEIC):
        return _with_bytes_added(file, form, open_again)
    image = open_again(file)
    if "truncated" not in str(error) and not _is_cut_tiff(image, file):
        return None
    if form is JPEG and image.info.get("progressive"):
        return _of_scans(file, open_again)
    sums = []
    for ground in (0, 255):
        image = open_again(file)
        sums.append(_load_over(image, ground))
    return _part(image, np.equal(*sums))


def _load_over(image: Image.Image, ground: int) -> npt.NDArray[np.int64]:
    """Decode what goes over a ground; a number for each row (height,)."""
    prepare = image.load_prepare  # type: ignore[attr-defined]

    def prepare_with_ground() -> None:
        prepare()
        image.im.paste(ground, (0, 0, *image.im.size))

    image.load_prepare = prepare_with_ground  # type: ignore[attr-defined]
    try:
        image.load()
    except MemoryError:
        raise
    except Exception:  # that it is cut is known
        pass
    return _sums(image._new(image.im))


def _sums(image: Image.Image) -> npt.NDArray[np.int64]:
    def sums() -> Iterator[int]:
        for top in range(0, image.height, _ROWS):
            strip = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
            yield from (zlib.crc32(row.tobytes()) for row in np.asarray(strip))

    return np.fromiter(sums(), np.int64, image.height)


def _part(image: Image.Image, there: npt.NDArray[np.bool_]) -> Part:
    """The rows that are there, at the top or at the bottom, the others grey; every other of an interlaced picture."""
    rows = np.flatnonzero(there)
    height = len(there)
    decoded = image._new(image.im)
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        kept = _on_grey(decoded, int(rows[0]), int(rows[-1]) + 1)
    elif there[::2].all():
        half = -(-height // 2)
        # In a box of one row less than twice as many, the nearest row to each is an even one.
        kept = decoded.resize((decoded.width, half), 0, (0, 0, decoded.width, 2 * half - 1))
    else:
        rows, kept = rows[:0], decoded
    share = len(rows) / height
    return Part(kept if share >= _LEAST else None, share, f"{int(100 * share)} % of its rows are there")


def _on_grey(image: Image.Image, top: int, bottom: int) -> Image.Image:
    """Only some rows of a picture, in their place: its embedding stays nearer to that of the whole than if they were
    stretched."""
    from PIL import Image as pillow

    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    rows = image.crop((0, top, image.width, bottom))
    if image.mode not in _GREY:
        return rows
    whole = pillow.new(image.mode, image.size, _GREY[image.mode])
    whole.paste(rows, (0, top))
    whole.info = image.info
    return whole


def _with_bytes_added(file: BinaryIO, form: Format, open_again: Open) -> Part | None:
    file.seek(0)
    content = file.read()
    missing = _stated_length(content, form) - len(content)
    if not 0 < missing <= len(content) / _LEAST:
        return None
    images: list[Image.Image] = []
    for ground in _GROUNDS:
        try:
            image = open_again(io.BytesIO(content + bytes([ground]) * missing))
            image.load()
            images.append(image)
        except MemoryError:
            raise
        except Exception:  # the next ground may do
            continue
        if len(images) == 2:
            break
    if not images or images[0].size != images[-1].size:
        return None
    if len(images) == 1:  # and no other to compare it with
        share = len(content) / (len(content) + missing)
        return Part(
            images[0] if share >= _LEAST else None, share, f"{int(100 * share)} % of its bytes are there"
        )
    part = _part(images[0], np.equal(*map(_sums, images)))
    if part.image is not None or form is WEBP:
        return part
    # A container that turns its picture: what is missing is at its side.
    from PIL import Image as pillow

    swapped = pillow.Transpose.TRANSPOSE
    sides = [image.transpose(swapped) for image in images]
    part = _part(sides[0], np.equal(*map(_sums, sides)))
    return part if part.image is None else part._replace(image=part.image.transpose(swapped))


def _stated_length(content: bytes, form: Format) -> int:
    """How long a file says that it is: RIFF in its header, ISO media (ISO 14496-12) by its last box."""
    if form is WEBP:
        return int.from_bytes(content[4:8], "little") + 8
    at = 0
    while at + 8 <= len(content):
        size, _ = struct.unpack_from(">I4s", content, at)
        if size == 1 and at + 16 <= len(content):
            (size,) = struct.unpack_from(">Q", content, at + 8)
        if size < 8:
            return 0
        at += size
    return at


def _is_cut_tiff(image: Image.Image, file: BinaryIO) -> bool:
    """Whether a TIFF has strips or tiles behind its end: libtiff says only that one could not be decoded."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return False
    end = file.seek(0, io.SEEK_END)
    offsets, counts = (
        (*tags.get(strips, ()), *tags.get(tiles, ())) for strips, tiles in ((273, 324), (279, 325))
    )
    return any(offset + count > end for offset, count in zip(offsets, counts, strict=False))


def _of_scans(file: BinaryIO, open_again: Open) -> Part:
    """A progressive JPEG: the whole picture, as fine as the scans that are whole make it (ITU T.81, annex B)."""
    file.seek(0)
    content = file.read()
    known: set[int] = set()
    scan = range(0)  # frequencies of the scan at hand, where it is of the first component: of brightness
    first = 1
    at, end = 2, len(content)
    while (at := content.find(b"\xff", at)) >= 0:
        marker = content[at + 1 : at + 2]
        if marker == b"\xff":
            at += 1
        elif not marker or marker[0] in _BARE_MARKERS:
            at += 2
        else:
            known.update(scan)  # whole, as something else begins
            segment = content[at + 4 : at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")]
            if len(segment) + 2 != int.from_bytes(content[at + 2 : at + 4], "big"):
                end = at  # cut within a segment: what is before it counts
                break
            if marker == _PROGRESSIVE_FRAME and len(segment) > 6:
                first = segment[6]
            scan = range(0)
            if marker == _SCAN and len(segment) > 2 * segment[0] + 2:
                low, high = segment[1 + 2 * segment[0] : 3 + 2 * segment[0]]
                scan = range(low, high + 1) if segment[1] == first else range(0)
            at += 4 + len(segment)
    share = len(known) / _FREQUENCIES
    if share < _LEAST:
        return Part(None, share, f"{int(100 * share)} % of its details are there")
    image = open_again(io.BytesIO(content[:end] + _END_OF_IMAGE))
    image.load()
    return Part(image, share, "its finest details are missing")
