"""A picture, whatever its format: as the pixels that an image graph takes, or small, to be looked at.

Importing this costs nothing, as a question in words looks at no picture: each name brings in what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itl_infer.lazy import lazy_names

if TYPE_CHECKING:
    from itl_infer.image.decode import ImageSource as ImageSource
    from itl_infer.image.decode import load_picture as load_picture
    from itl_infer.image.decode import load_pixels as load_pixels
    from itl_infer.image.decode import load_thumbnail as load_thumbnail
    from itl_infer.image.decode import open_picture_file as open_picture_file
    from itl_infer.image.facts import Facts as Facts
    from itl_infer.image.formats import IMAGE_SUFFIXES as IMAGE_SUFFIXES
    from itl_infer.image.formats import describe_formats as describe_formats
    from itl_infer.image.opening import require_picture as require_picture
    from itl_infer.image.opening import require_reader as require_reader
    from itl_infer.image.resize import resize_bilinear as resize_bilinear
    from itl_infer.image.rules import DEFAULT_MAX_MEGAPIXELS as DEFAULT_MAX_MEGAPIXELS
    from itl_infer.image.rules import ImageRules as ImageRules

_MODULES = {
    "decode": ("load_picture", "load_pixels", "load_thumbnail", "open_picture_file"),
    "facts": ("Facts",),
    "formats": ("IMAGE_SUFFIXES", "describe_formats"),
    "opening": ("require_picture", "require_reader"),
    "resize": ("resize_bilinear",),
    "rules": ("DEFAULT_MAX_MEGAPIXELS", "ImageRules"),
}

__all__ = [name for names in _MODULES.values() for name in names]

__getattr__ = lazy_names(__name__, _MODULES)
