"""A picture, whatever its format: as the pixels that an image graph takes, or small, to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itl_infer.image.admission import DEFAULT_MAX_MEGAPIXELS
from itl_infer.image.decode import load_pixels, load_thumbnail, open_picture_file
from itl_infer.image.formats import IMAGE_SUFFIXES, describe_formats
from itl_infer.image.opening import require_reader
from itl_infer.image.resize import resize_bilinear
from itl_infer.image.rules import ImageRules

if TYPE_CHECKING:
    from itl_infer.image.decode import ImageSource as ImageSource

__all__ = [
    "DEFAULT_MAX_MEGAPIXELS",
    "IMAGE_SUFFIXES",
    "ImageRules",
    "describe_formats",
    "load_pixels",
    "load_thumbnail",
    "open_picture_file",
    "require_reader",
    "resize_bilinear",
]
