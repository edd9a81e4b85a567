"""Open a picture's file with whatever reads its format: its content decides, its name only where that says nothing."""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from itl_infer.errors import ImageError, ReaderMissingError
from itl_infer.image.admission import BYTES_PER_PIXEL, Admission, is_there_room
from itl_infer.image.clock import Allowance
from itl_infer.image.formats import (
    AVIF,
    FORMATS,
    HEAD_BYTES,
    HEIC,
    JPEG_2000,
    JXL,
    RAW,
    TIFF,
    WEBP,
    Format,
    describe_formats,
    format_called,
    recognise,
)
from itl_infer.image.pillow import unlimited_pillow
from itl_infer.image.tiff import estimate as estimate_tiff
from itl_infer.image.webp import read_size as read_webp_size

if TYPE_CHECKING:
    from PIL import Image

_READERS = [reader for form in FORMATS if form.package is None for reader in form.readers]

_JXL_BYTES = 16  # of memory for each pixel of a JPEG XL, about


_WEBP_BYTES = 20  # of memory for each pixel of a WebP: those of an animation, and two canvases for it
# What their decoders take is not told by a header, and some end the process that they are in.
_APART = (AVIF, HEIC, JXL, JPEG_2000, RAW)
_TAG_BYTES = 2**22  # of a TIFF's notes: more is suspicious, as is what is read again and again
_READ_AGAIN = 1.5  # times its file


class Opened(NamedTuple):
    """A picture that is open; nothing of it is decoded yet, where its format allows that."""

    image: Image.Image
    format: Format | None
    orientation: int | None  # how it lies once it is decoded, as EXIF counts; None: as its own EXIF says
    drafted: tuple[int, int] | None = None  # its size, where the image is to be decoded smaller
    shown: tuple[int, int] | None = None  # its size upright, where the image is only a preview
    exif: Image.Exif | None = None  # where the image has not got it


def require_reader(file: BinaryIO, name: str) -> None:
    """Raise ReaderMissingError where what reads a file, now at its start, is not installed; it stays there."""
    form = _format_of(file, name)
    if form is not None:
        _import_reader(form, name)


def require_picture(file: BinaryIO, name: str, max_megapixels: float) -> None:
    """Raise ImageError for a file that is too large for a picture, or that begins as none; it stays at its start."""
    Allowance(max_megapixels).require_file(name, file.seek(0, io.SEEK_END))
    file.seek(0)
    if _format_of(file, name) is None:
        raise ImageError(name, f"not a {describe_formats()} picture")


def open_picture(file: BinaryIO, name: str, admit: Admission) -> Opened:
    """Raises ImageError, ReaderMissingError, and whatever the libraries do, such as Pillow's DecompressionBombError."""
    from PIL import Image, UnidentifiedImageError

    form = _format_of(file, name)
    if form is not None:
        _import_reader(form, name)
    if form in _APART:
        admit.suspect()
    elif form is TIFF:
        _look_at_tiff(file, admit)
    elif form is WEBP and (size := read_webp_size(file)):
        admit(*size, size[0] * size[1] * _WEBP_BYTES / BYTES_PER_PIXEL)
    if form is RAW:
        from itl_infer.image.facts import exif_of_raw
        from itl_infer.image.raw import open_raw

        if opened := open_raw(file, admit):
            return Opened(opened.image, RAW, opened.orientation, shown=opened.shown, exif=exif_of_raw(file))
        form = TIFF  # called a RAW, and none
        file.seek(0)
    orientation = None
    if form is JXL:
        from itl_infer.image.jxl import read_header

        header = read_header(file)
        admit(header.width, header.height)
        if not is_there_room(header.width * header.height * _JXL_BYTES):
            raise MemoryError  # where its decoder cannot have what it takes, it ends the process
        # Its decoder turns by what the codestream says. Where that says nothing, some writers meant the EXIF.
        orientation = None if header.orientation == 1 else 1
    try:
        image: Image.Image = Image.open(file, formats=_READERS if form is None else list(form.readers))
    except UnidentifiedImageError as error:
        if form is None or not _begins_as(file, form):
            raise ImageError(name, f"not a {describe_formats()} picture") from error
        raise OSError(f"no whole {form.name} picture") from error
    except RuntimeError as error:
        # The plugin for JPEG XL says at length that it knows nothing more.
        raise OSError("cannot be decoded" if form is JXL else str(error)) from error
    if form is JXL and getattr(image, "jpeg", False):
        orientation = None  # a JPEG, packed smaller: given as it was
    if form is HEIC or (form is AVIF and "exif" not in image.info):
        orientation = 1  # what the container says is done, or not there; any other word on it does not count
    exif = None
    if image.format == "JPEG2000":
        from itl_infer.image.facts import exif_of_jpeg_2000

        place = file.tell()
        exif = exif_of_jpeg_2000(file)
        file.seek(place)
    return Opened(image, form, orientation, exif=exif)


def open_whatever_size(file: BinaryIO, name: str, admit: Admission) -> Opened:
    """`open_picture`, whatever Pillow thinks of its size."""
    from PIL import Image

    try:
        return open_picture(file, name, admit)
    except Image.DecompressionBombError:
        # Pillow's limit, a constant of its own, is not the one that the caller gave. To open a picture decodes
        # nothing of it, but says how large it is, and then `admit` decides.
        file.seek(0)
        with unlimited_pillow():
            return open_picture(file, name, admit)


def _format_of(file: BinaryIO, name: str) -> Format | None:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    form = recognise(head)
    called = format_called(name)
    if form is TIFF:
        from itl_infer.image.raw import is_raw_tiff

        is_raw = is_raw_tiff(file)
        return RAW if is_raw or (is_raw is None and called is RAW) else TIFF
    if form is None and called is not None and called.package is not None:
        return called
    return form


def _look_at_tiff(file: BinaryIO, admit: Admission) -> None:
    """Tiles and strips may be larger than the picture, and share what they hold."""
    cost = estimate_tiff(file)
    if cost is None:
        return
    admit(cost.width, cost.height, cost.width * cost.height + 2 * cost.part_bytes / BYTES_PER_PIXEL)
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    if cost.tag_bytes > _TAG_BYTES or cost.read_bytes > _READ_AGAIN * length:
        admit.suspect()


def _begins_as(file: BinaryIO, form: Format) -> bool:
    file.seek(0)
    return form.fits(file.read(HEAD_BYTES))


def _import_reader(form: Format, name: str) -> None:
    package = form.package
    if package is None:
        return
    try:
        module = import_module(package.module)
    except ImportError as error:
        raise ReaderMissingError(
            name, form.name, package.name, package.extra, form.suffix_of(name)
        ) from error
    if package.register is not None:
        getattr(module, package.register)()
