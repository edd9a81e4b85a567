"""Pictures as they are meant to be looked at: turned by their EXIF orientation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itl_infer.image.opening import Opened

if TYPE_CHECKING:
    from PIL import Image

_EXIF_ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations of a picture that lies on its side


def orientation_of(opened: Opened) -> int:
    """How it lies once it is decoded, as EXIF counts."""
    return exif_orientation(opened.image) if opened.orientation is None else opened.orientation


def exif_orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a picture whose notes are damaged is still a picture
        return 1


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    from PIL import Image

    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)
