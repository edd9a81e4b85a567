"""The picture formats that are read: what people call them, how they are recognised, and what reads each."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

HEAD_BYTES = 64  # of a file, enough to tell its format


class Package(NamedTuple):
    """An optional package that reads a format which Pillow does not."""

    name: str  # as pip calls it
    module: str
    extra: str  # of itl-infer, which brings it
    register: str | None = None  # its function that makes Pillow know it, where importing it does not


class Format(NamedTuple):
    """A format of picture files."""

    name: str  # as people write it
    readers: tuple[str, ...]  # as Pillow calls what reads it; none where `image.raw` does
    suffixes: tuple[str, ...]  # of file names, in lower case; what is called otherwise counts under the first
    begins: bytes  # a pattern that the first bytes of such a file fit
    package: Package | None = None

    def fits(self, head: bytes) -> bool:
        """Whether the first HEAD_BYTES of a file are those of this format."""
        return re.match(self.begins, head, re.DOTALL) is not None

    def suffix_of(self, name: str) -> str:
        """The ending under which a file of this format counts: its own, where that is one of the format's."""
        suffix = _suffix(name)
        return suffix if suffix in self.suffixes else self.suffixes[0]


# Of an ISO media file: its box `ftyp` names a brand, a version and the brands that it is compatible with.
_HEIF_BRANDS = rb"(?:hei[cxms]|hev[cxms]|m[is]f1)"

TIFF = Format("TIFF", ("TIFF",), (".tif", ".tiff"), rb"II\*\0(?!....CR)|MM\0\*|MM\*\0|II\0\*|II\+\0|MM\0\+")
AVIF = Format("AVIF", ("AVIF",), (".avif", ".avifs"), rb".{4}ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4})*?avi[fs])")
HEIC = Format(
    "HEIC",
    ("HEIF",),
    (".heic", ".heif", ".hif", ".heics", ".heifs"),
    rb".{4}ftyp" + _HEIF_BRANDS,
    Package("pillow-heif", "pillow_heif", "heif", "register_heif_opener"),
)
JXL = Format(
    "JPEG XL",
    ("JXL",),
    (".jxl",),
    rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    Package("pillow-jxl-plugin", "pillow_jxl", "jxl"),
)
# Most RAW files are TIFFs to their first bytes: those are told apart by what `image.raw` finds in them.
RAW = Format(
    "RAW",
    (),
    (".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"),
    rb"II\*\0....CR|.{4}ftypcrx |FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0",
    Package("rawpy", "rawpy", "raw"),
)
JPEG = Format(
    "JPEG",
    ("JPEG",),  # which reads .mpo too: the first picture of several
    (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".mpo"),
    rb"\xff\xd8\xff",
)
PNG = Format("PNG", ("PNG",), (".png", ".apng"), rb"\x89PNG\r\n\x1a\n")
WEBP = Format("WebP", ("WEBP",), (".webp",), rb"RIFF....WEBP")
JPEG_2000 = Format(
    "JPEG 2000",
    ("JPEG2000",),
    (".jp2", ".j2k", ".j2c", ".jpx", ".jpf"),
    rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
)
# In the order in which they are recognised: AVIF before HEIC, as both may begin as "mif1".
FORMATS = (
    JPEG,
    PNG,
    WEBP,
    Format("GIF", ("GIF",), (".gif",), rb"GIF8[79]a"),
    TIFF,
    # .dib is BMP without the header of a file: it begins with the size of the next one.
    Format("BMP", ("BMP", "DIB"), (".bmp", ".dib"), rb"BM|[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
    JPEG_2000,
    AVIF,
    HEIC,
    JXL,
    RAW,
)
IMAGE_SUFFIXES = frozenset(suffix for form in FORMATS for suffix in form.suffixes)


def recognise(head: bytes) -> Format | None:
    """The format that the first HEAD_BYTES of a file are of; TIFF for many a RAW."""
    return next((form for form in FORMATS if form.fits(head)), None)


def format_called(name: str) -> Format | None:
    """The format that a file's name ends as."""
    suffix = _suffix(name)
    return next((form for form in FORMATS if suffix in form.suffixes), None)


def describe_formats() -> str:
    """All of them for a message: "JPEG, PNG, ... or RAW"."""
    *names, last = (form.name for form in FORMATS)
    return f"{', '.join(names)} or {last}"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (a name need not be text)
