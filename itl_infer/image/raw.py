"""RAW files of cameras: told from other TIFFs, and opened as the preview in them, or developed where there is none."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from itl_infer.image.admission import Admission

if TYPE_CHECKING:
    from PIL import Image

_SMALLEST_PREVIEW = 256  # pixels of its longer side: what is smaller is a thumbnail, too little to embed
_DIRECTORIES = 16  # of a TIFF, looked at
_ENTRIES = 1000  # of a directory
_SUBFILE, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 254, 262, 330, 50706
_OF_A_SENSOR = (32803, 34892)  # the colour filters' own samples, or these made linear
_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6)  # LibRaw's turns that make a height of the width
_EXIF_OF_FLIP = {3: 3, 5: 8, 6: 6}  # LibRaw's turns, as EXIF counts them


def is_raw_tiff(file: BinaryIO) -> bool | None:
    """Whether a TIFF holds what a sensor saw; None where that cannot be told, as of one that is cut short.

    By its directories: TIFF 6.0 and DNG 1.4, "SubIFDs" and "PhotometricInterpretation".
    """
    try:
        file.seek(0)
        order = "<" if file.read(2) == b"II" else ">"
        _, first = struct.unpack(f"{order}HI", file.read(6))
        waiting, seen, may_be = [first], set[int](), False
        while waiting and len(seen) < _DIRECTORIES:
            offset = waiting.pop(0)
            if offset == 0 or offset in seen:
                continue
            seen.add(offset)
            file.seek(offset)
            (count,) = struct.unpack(f"{order}H", file.read(2))
            entries = file.read(12 * min(count, _ENTRIES))
            (following,) = struct.unpack(f"{order}I", file.read(4)) if count <= _ENTRIES else (0,)
            for tag, kind, number, value in struct.iter_unpack(f"{order}HHI4s", entries):
                short, long = struct.unpack_from(f"{order}H", value)[0], struct.unpack(f"{order}I", value)[0]
                if tag == _DNG_VERSION or (tag == _PHOTOMETRIC and short in _OF_A_SENSOR):
                    return True
                if tag == _SUBFILE and offset == first and (short if kind == 3 else long) & 1:
                    may_be = True  # a small copy first: cameras do that
                if tag == _SUB_DIRECTORIES and number == 1:
                    waiting.append(long)
                elif tag == _SUB_DIRECTORIES:
                    file.seek(long)
                    listed = file.read(4 * min(number, _DIRECTORIES))
                    waiting += struct.unpack(f"{order}{len(listed) // 4}I", listed)
            waiting.append(following)
        return None if may_be else False
    except (struct.error, OverflowError, ValueError):
        return None
    finally:
        file.seek(0)


class OpenedRaw(NamedTuple):
    """What is looked at of a RAW."""

    image: Image.Image
    orientation: int | None  # how it must be turned, as EXIF counts; None: as its own EXIF says
    shown: tuple[int, int]  # width and height of the picture that the sensor took, upright


def open_raw(file: BinaryIO, admit: Admission) -> OpenedRaw | None:
    """The preview, or the picture developed at half size where there is no preview worth the name; None for no RAW.

    Raises OSError with LibRaw's reason.
    """
    import rawpy

    try:
        with rawpy.imread(file) as raw:
            shown = raw.sizes.width, raw.sizes.height
            if raw.sizes.flip in _SIDEWAYS:
                shown = shown[::-1]
            preview = _preview(raw)
            if preview is not None and max(preview[0].size) >= _SMALLEST_PREVIEW:
                return OpenedRaw(*preview, shown)
            try:
                return OpenedRaw(_develop(raw, admit), 1, shown)
            except rawpy.LibRawError:
                if preview is None:
                    raise
                return OpenedRaw(*preview, shown)
    except rawpy.LibRawFileUnsupportedError:
        return None
    except rawpy.LibRawError as error:
        (said,) = error.args or (b"",)
        raise OSError(said.decode() if isinstance(said, bytes) else str(said)) from error


def _preview(raw: object) -> tuple[Image.Image, int | None] | None:
    import rawpy
    from PIL import Image

    assert isinstance(raw, rawpy.RawPy)
    try:
        found = raw.extract_thumb()
        if found.format == rawpy.ThumbFormat.JPEG:
            assert isinstance(found.data, bytes)
            image: Image.Image = Image.open(io.BytesIO(found.data), formats=["JPEG"])
        else:
            assert not isinstance(found.data, bytes)
            image = Image.fromarray(found.data)
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError, OSError, SyntaxError):
        return None
    sizes = raw.sizes
    # One that lies where the sensor stood, or the other way round, has been turned by the camera.
    if sizes.flip in _SIDEWAYS and (image.width > image.height) != (sizes.width > sizes.height):
        return image, 1
    # LibRaw writes into a JPEG how it must be turned, where the camera did not.
    return image, None if _EXIF_ORIENTATION in image.getexif() else _EXIF_OF_FLIP.get(sizes.flip, 1)


def _develop(raw: object, admit: Admission) -> Image.Image:
    import rawpy
    from PIL import Image

    assert isinstance(raw, rawpy.RawPy)
    sizes = raw.sizes
    # A sensor's samples are 2 bytes each, and a quarter of them become pixels of 4 x 2 bytes.
    admit(sizes.raw_width, sizes.raw_height, (sizes.raw_width * sizes.raw_height) / 2)
    return Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8))
