"""The picture formats that are read, and what people call them."""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """A format of picture files."""

    name: str  # as people write it
    reader: str  # as Pillow calls what reads it
    suffixes: tuple[str, ...]  # of file names, in lower case


FORMATS = (
    Format("JPEG", "JPEG", (".jpg", ".jpeg", ".jpe")),
    Format("PNG", "PNG", (".png",)),
    Format("WebP", "WEBP", (".webp",)),
    Format("GIF", "GIF", (".gif",)),
    Format("TIFF", "TIFF", (".tif", ".tiff")),
    Format("BMP", "BMP", (".bmp",)),
)
IMAGE_SUFFIXES = frozenset(suffix for form in FORMATS for suffix in form.suffixes)


def describe_formats() -> str:
    """All of them for a message: "JPEG, PNG, ... or BMP"."""
    *names, last = (form.name for form in FORMATS)
    return f"{', '.join(names)} or {last}"
