"""Read a picture, whatever its format: as the pixels that an image graph takes, or small, to be looked at."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ImageError, reason_of
from itl_infer.image.formats import FORMATS, describe_formats
from itl_infer.image.pillow import pixels_refused_above, quiet_pillow, unlimited_pillow
from itl_infer.image.resize import resize_to
from itl_infer.image.rules import ImageRules

if TYPE_CHECKING:
    from PIL import Image

    ImageSource: TypeAlias = str | os.PathLike[str] | BinaryIO | Image.Image | npt.NDArray[np.uint8]

DEFAULT_MAX_MEGAPIXELS = 100.0

_READERS = [form.reader for form in FORMATS]
_EXIF_ORIENTATION = 0x0112
_LARGE_MEGAPIXELS = 25.0
_STRIP_PIXELS = 2**20

T = TypeVar("T")

# Each takes hundreds of megabytes while it is decoded: one at a time, however many threads read.
_large_pictures = threading.Lock()


def load_pixels(
    source: ImageSource, rules: ImageRules, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> npt.NDArray[np.uint8]:
    """A picture as (side, side, 3) uint8 RGB: first frame, upright, over white, stretched to the square.

    `source` is a path, an open file (read from its start), a Pillow image, or a uint8 array (H, W), (H, W, 3)
    or (H, W, 4). Raises ImageError. Safe to call from several threads.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        return _decode(_from_array(source), "array", lambda image: _prepare(image, rules))
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "")) or "picture"
        _check_size(source, name, max_megapixels)
        return _decode(source, name, lambda image: _prepare(image, rules))
    if isinstance(source, (str, os.PathLike)):
        with open_picture_file(source) as file:
            return _file_pixels(file, rules, max_megapixels)
    source.seek(0)
    return _file_pixels(source, rules, max_megapixels)


def load_thumbnail(
    path: str | os.PathLike[str], side: int, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Image.Image:
    """A picture as RGB, upright, over white, scaled down to fit side x side. Raises ImageError."""
    from PIL import Image, ImageOps

    def scale_down(image: Image.Image) -> Image.Image:
        upright = _turn_upright(_to_rgb(image), image)
        fits = max(upright.size) <= side
        return upright if fits else ImageOps.contain(upright, (side, side), Image.Resampling.LANCZOS)

    with open_picture_file(path) as file:
        return _decode_file(file, side, max_megapixels, scale_down)


def _file_pixels(file: BinaryIO, rules: ImageRules, max_megapixels: float) -> npt.NDArray[np.uint8]:
    # What is not antialiased would look different after a smaller decode.
    draft_side = None if rules.resize == "bilinear" else rules.side
    return _decode_file(file, draft_side, max_megapixels, lambda image: _prepare(image, rules))


def _decode_file(
    file: BinaryIO, draft_side: int | None, max_megapixels: float, finish: Callable[[Image.Image], T]
) -> T:
    """What `finish` makes of the decoded picture, of which it needs no more than twice `draft_side`."""
    from PIL import Image

    path = str(getattr(file, "name", "picture"))
    with quiet_pillow(), contextlib.ExitStack() as stack:
        try:
            image = _open(file, path)
        except Image.DecompressionBombError:
            # Pillow's limit, a constant of its own, is not the one that the caller gave. To open a picture decodes
            # nothing of it, but says how large it is, and then `_check_size` decides.
            with unlimited_pillow():
                image = _open(file, path)
        stack.enter_context(image)
        _check_size(image, path, max_megapixels)
        # Of a picture within the limit, Pillow still refuses a part that is larger, such as a tile of a TIFF.
        if image.width * image.height > pixels_refused_above():
            stack.enter_context(unlimited_pillow())
        if draft_side is not None:
            # JPEG: decode at 1/2, 1/4 or 1/8 while both sides stay twice what is needed. Far faster.
            image.draft(None, (2 * draft_side, 2 * draft_side))
        is_large = image.width * image.height > _LARGE_MEGAPIXELS * 1e6
        with _large_pictures if is_large else contextlib.nullcontext():
            return _decode(image, path, finish)


def _open(file: BinaryIO, path: str) -> Image.Image:
    """A picture not decoded yet. Raises ImageError, and DecompressionBombError for one above Pillow's limit."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file, formats=_READERS)
    except Image.DecompressionBombError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(path, f"not a {describe_formats()} picture") from error
    except Exception as error:  # decoders raise anything on damaged bytes
        raise ImageError(path, _damage(error)) from error


def open_picture_file(path: str | os.PathLike[str]) -> BinaryIO:
    """The file, open to be read, with bytes in it. Raises ImageError, its cause the OSError if there was one."""
    path = os.fspath(path)
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(path, "a directory, not a picture")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise ImageError(path, "not a regular file")
        if status.st_size == 0:
            raise ImageError(path, "empty file (0 bytes)")
        return Path(path).open("rb")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(path, f"cannot be read: {reason_of(error)}") from error


def _check_size(image: Image.Image, name: str, max_megapixels: float) -> None:
    width, height = image.size
    if width * height == 0:
        raise ImageError(name, f"no pixels: {width} x {height}")
    if width * height > max_megapixels * 1e6:
        raise ImageError(
            name,
            f"{width} x {height} is {width * height / 1e6:.4g} megapixels, more than the limit of"
            f" {max_megapixels:g}: raise --max-megapixels (max_megapixels) if it is meant",
        )


def _decode(image: Image.Image, name: str, finish: Callable[[Image.Image], T]) -> T:
    with quiet_pillow():
        try:
            image.load()
            return finish(image)
        except Exception as error:  # decoders raise anything on damaged bytes
            raise ImageError(name, _damage(error)) from error


def _prepare(image: Image.Image, rules: ImageRules) -> npt.NDArray[np.uint8]:
    return resize_to(_turn_upright(_to_rgb(image), image), rules)


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(
            "array",
            f"{array.dtype} {array.shape}, expected uint8 (H, W), (H, W, 3) or (H, W, 4), values 0 to 255",
        )
    if array.size == 0:
        raise ImageError("array", f"no pixels: {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB, transparency over white; 16-bit and float grey are scaled, where Pillow would clip them."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_scale_to_bytes(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        return _over_white(image if image.mode == "RGBA" else image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _over_white(rgba: Image.Image) -> Image.Image:
    """Opaque RGB; a strip at a time, since whole it would take as much memory again twice."""
    from PIL import Image

    width, height = rgba.size
    rgb = Image.new("RGB", rgba.size)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = rgba.crop((0, top, width, min(top + rows, height)))
        white = Image.new("RGBA", strip.size, "white")
        white.alpha_composite(strip)
        rgb.paste(white.convert("RGB"), (0, top))
    return rgb


def _scale_to_bytes(grey: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """(H, W) of any number type to uint8; white is 1 for fractions, else the top of 8, 16 or 32 bits."""
    values = np.nan_to_num(grey.astype(np.float64))
    whites = [1.0, 255.0, 65535.0, 2.0**32 - 1] if grey.dtype.kind == "f" else [65535.0, 2.0**32 - 1]
    white = next((white for white in whites if values.max() <= white), values.max())
    scaled: npt.NDArray[np.float64] = np.rint(np.clip(values / white, 0, 1) * 255)
    return scaled.astype(np.uint8)


def _turn_upright(rgb: Image.Image, source: Image.Image) -> Image.Image:
    from PIL import Image

    try:
        orientation = source.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a picture whose notes are damaged is still a picture
        return rgb
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return rgb if turn is None else rgb.transpose(turn)


def _damage(error: Exception) -> str:
    return f"truncated or damaged: {' '.join(str(error).split()) or type(error).__name__}"
