"""What a picture's file says of it besides its pixels: when, where and with what it was taken, and its size.

EXIF is a note of whoever wrote the file: what is damaged or absurd in it is left out, and never costs the picture.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from itl_infer.errors import is_shortage_of_memory

if TYPE_CHECKING:
    from PIL import Image

# Tags of EXIF 2.32 and TIFF 6.0.
_MAKE, _MODEL, _DATE = 0x010F, 0x0110, 0x0132
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_DATES = (0x9003, 0x9004)  # taken, made digital
_LATITUDE, _LONGITUDE = 2, 4

_LONGEST = 100  # characters of a make or model, and of what is looked at of a date
# Compiled when they are first needed, as a search needs neither.
_DAY_AND_TIME = (
    r"\s*([0-9]{4})[:/.-]([0-9]{1,2})[:/.-]([0-9]{1,2})(?:[T ]+([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2}))?)?"
)
# What companies call themselves, and nobody calls a camera.
_COMPANY = r"(?i:[\s,]+(?:corporation|corp|company|co|ltd|inc|gmbh|ag|imaging|optical|camera|electric|techwin)\b\.?)+$"
_UUID_BYTES = 16
_EXIF_IN_JPEG_2000 = b"JpgTiffExif->JP2"  # the uuid of a box
_BOXES = 64  # looked at


@dataclass(frozen=True)
class Facts:
    """What is known of a picture besides its embedding."""

    width: int  # pixels, as it is displayed; 0 with the height where that is not known
    height: int
    taken: datetime | None = None  # by the clock where it was taken, to the second, without a zone
    camera: str = ""  # make and model, "Canon EOS 5D"
    has_gps: bool = False  # whether the file says where
    phash: int = 0  # 64 bits that copies of one picture have nearly in common
    is_file_date: bool = False  # `taken` is the date of the file, as the picture has none


def read_facts(image: Image.Image, size: tuple[int, int], exif: Image.Exif | None = None) -> Facts:
    """The facts of a decoded picture that is displayed at this size; `exif` where the picture is only a preview."""
    try:
        exif = image.getexif() if exif is None else exif
        inner, place = exif.get_ifd(_EXIF_IFD), exif.get_ifd(_GPS_IFD)
        dates = [_date(value) for value in (*(inner.get(tag) for tag in _DATES), exif.get(_DATE))]
        camera = _camera(_text(exif.get(_MAKE)), _text(exif.get(_MODEL)))
        has_gps = _is_place(place.get(_LATITUDE)) and _is_place(place.get(_LONGITUDE))
        return Facts(*size, next((date for date in dates if date), None), camera, has_gps)
    except Exception as error:  # Pillow raises anything on damaged notes
        if is_shortage_of_memory(error):
            raise
        return Facts(*size)


def exif_of_raw(file: BinaryIO) -> Image.Exif | None:
    """The EXIF of a RAW file that is built like a TIFF, whatever it calls itself; None for others."""
    from PIL import Image

    file.seek(0)
    head = file.read(8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    exif = Image.Exif()
    exif.endian = order
    try:
        exif.load_from_fp(file, struct.unpack(f"{order}4xI", head)[0])
        return exif if _MODEL in exif or _EXIF_IFD in exif else None
    except Exception as error:
        if is_shortage_of_memory(error):
            raise
        return None


def exif_of_jpeg_2000(file: BinaryIO) -> Image.Exif | None:
    """The EXIF of a JPEG 2000, which Pillow does not look for; None where there is none."""
    from PIL import Image

    content = _exif_in_boxes(file)
    if content is None:
        return None
    exif = Image.Exif()
    try:
        exif.load(content)
    except Exception as error:
        if is_shortage_of_memory(error):
            raise
        return None
    return exif


def _exif_in_boxes(file: BinaryIO) -> bytes | None:
    """In a box of its own (ISO 15444-1, I.7.2)."""
    place, end = 0, file.seek(0, io.SEEK_END)
    for _ in range(_BOXES):
        file.seek(place)
        head = file.read(8 + _UUID_BYTES)
        if len(head) < 8:
            return None
        size, kind = struct.unpack_from(">I4s", head)
        if kind == b"uuid" and head[8:] == _EXIF_IN_JPEG_2000:
            return file.read(min(size or end, end) - len(head))
        if size == 1:
            (size,) = struct.unpack_from(">Q", head, 8)
        if size < 8:
            return None
        place += size
    return None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return ""
    value = value[:_LONGEST].partition("\0")[0]
    with contextlib.suppress(UnicodeError):  # Pillow takes it for Latin-1; phones write UTF-8
        value = value.encode("latin-1").decode()
    return " ".join("".join(char if char.isprintable() else " " for char in value).split())


def _date(value: Any) -> datetime | None:
    """A date and time; to the second, as sub-seconds and zones stand elsewhere, if anywhere."""
    match = re.match(_DAY_AND_TIME, _text(value))
    if match is None:
        return None
    year, month, day, *time = (int(part or 0) for part in match.groups())
    for clock in (time, (0, 0, 0)):  # a day is a day, whatever its clock said
        try:
            return datetime(year, month, day, *clock)
        except ValueError:
            continue
    return None


def _camera(make: str, model: str) -> str:
    """As people call it: "NIKON CORPORATION", "NIKON D90" is a NIKON D90, "Canon", "EOS 5D" a Canon EOS 5D."""
    brand = re.sub(_COMPANY, "", make)
    first = brand.casefold().split()
    if not model or not brand:
        return model or make
    words = model.casefold().split()
    if words[: len(first)] == first or words[0] in first:
        return model
    return f"{brand} {model}"


def _is_place(value: Any) -> bool:
    """Whether this is a latitude or a longitude: degrees, minutes and seconds, or fewer."""
    parts = value if isinstance(value, tuple) else (value,)
    try:
        return value is not None and math.isfinite(sum(float(part) for part in parts))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return False
