"""Colours as a picture's ICC profile means them, made sRGB."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_LONGEST_PROFILE = 2**22  # bytes, twice what profiles of printing presses have; a longer one is left alone
_KEPT = 16  # transforms: a folder has few profiles
_SAME = 3  # of 255: profiles that call themselves sRGB differ by that, and must not change a picture
_GREYS = ("1", "L", "LA", "La", "I", "F")
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}  # as ICC calls what Pillow's modes are

ToSrgb = Callable[["Image.Image"], "Image.Image"]


def mode_of_colours(image: Image.Image) -> str:
    """What a picture's profile speaks of: RGB, L, CMYK or LAB; palettes, transparency and depth are beside it."""
    if image.mode in ("CMYK", "LAB"):
        return image.mode
    return "L" if image.mode in _GREYS or image.mode.startswith("I;") else "RGB"


def to_srgb(image: Image.Image) -> ToSrgb | None:
    """What makes sRGB of an image in `mode_of_colours`; None where the colours are sRGB, or nobody knows.

    A profile that is damaged, or of other colours than the picture has, is as good as none.
    """
    mode = mode_of_colours(image)
    profile = image.info.get("icc_profile")
    if mode == "LAB":
        return _transform(b"", mode)
    if not isinstance(profile, bytes) or not 0 < len(profile) <= _LONGEST_PROFILE:
        return None
    return _transform(profile, mode)


@lru_cache(maxsize=_KEPT)
def _transform(profile: bytes, mode: str) -> ToSrgb | None:
    try:
        from PIL import ImageCms

        source: Any = ImageCms.ImageCmsProfile(
            io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
        )
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")

        def apply(image: Image.Image) -> Image.Image:
            converted = ImageCms.applyTransform(image, transform)
            assert converted is not None  # it is only where it works in place
            return converted

        return None if _changes_nothing(apply, mode) else apply
    except Exception:  # LittleCMS raises anything on damaged profiles; Pillow may have been built without it
        return None


def _changes_nothing(apply: ToSrgb, mode: str) -> bool:
    """Whether a profile is sRGB, whoever made it and whatever it calls itself."""
    from PIL import Image

    if mode not in ("RGB", "L"):
        return False
    steps = np.linspace(0, 255, 9 if mode == "RGB" else 256).astype(np.uint8)
    colours = (
        np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3) if mode == "RGB" else steps[None]
    )
    probe = Image.fromarray(colours)
    seen = np.asarray(apply(probe)).astype(int)
    return int(np.abs(seen - np.asarray(probe.convert("RGB"))).max()) <= _SAME
