"""Read a picture, whatever its format: as the pixels that an image graph takes, or small, to be looked at."""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from itl_infer.errors import ImageError, ImageMemoryError, is_shortage_of_memory, reason_of
from itl_infer.image.admission import (
    BYTES_PER_PIXEL,
    SHORT,
    Admission,
    Turns,
    check_size,
    is_there_room,
)
from itl_infer.image.facts import Facts, read_facts
from itl_infer.image.formats import HEAD_BYTES
from itl_infer.image.opening import Opened, open_picture
from itl_infer.image.phash import perceptual_hash
from itl_infer.image.pillow import pixels_refused_above, quiet_pillow, unlimited_pillow
from itl_infer.image.resize import resize_to
from itl_infer.image.rules import DEFAULT_MAX_MEGAPIXELS, ImageRules

if TYPE_CHECKING:
    from PIL import Image

    from itl_infer.image.colour import ToSrgb

    ImageSource: TypeAlias = str | os.PathLike[str] | BinaryIO | Image.Image | npt.NDArray[np.uint8]

_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # orientations of a picture that lies on its side
_LARGE_MEGAPIXELS = 25.0  # such a picture takes hundreds of megabytes: one at a time
_STRIP_PIXELS = 2**20
_COEFFICIENT_BYTES = 2  # of a JPEG that comes in scans, all of which are in memory at once

T = TypeVar("T")
Finish: TypeAlias = Callable[
    ["Image.Image", Opened], T
]  # takes the decoded picture, which of a damaged one is another than the one that was opened

_turns = Turns()


def load_pixels(
    source: ImageSource,
    rules: ImageRules,
    *,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    name: str | None = None,
    notes: list[str] | None = None,
) -> npt.NDArray[np.uint8]:
    """A picture as (side, side, 3) uint8 sRGB: first frame, upright, over white, stretched to the square.

    `source` is a path, an open file (read from its start), a Pillow image, or a uint8 array (H, W), (H, W, 3)
    or (H, W, 4). `name` is that of an open file. A file that is cut at its end is taken as far as it goes, where at
    least half of the picture is there; that is then said in `notes`. Raises ImageError; ReaderMissingError where an
    extra reads the format, ImageMemoryError where memory is short. Safe to call from several threads.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        image = _from_array(source)
        return _decode("array", lambda: _prepare(image, 1, rules))
    if isinstance(source, Image.Image):
        image = source
        name = str(getattr(image, "filename", "")) or "picture"
        check_size(*image.size, image.width * image.height, name, max_megapixels)

        def prepare() -> npt.NDArray[np.uint8]:
            image.load()
            return _prepare(image, _orientation_of(image), rules)

        return _decode(name, prepare)
    if isinstance(source, (str, os.PathLike)):
        with open_picture_file(source) as file:
            return _file_pixels(file, os.fspath(source), rules, max_megapixels, notes)
    source.seek(0)
    name = str(getattr(source, "name", "picture")) if name is None else name
    return _file_pixels(source, name, rules, max_megapixels, notes)


class Decoded(NamedTuple):
    """A picture's file, as an index wants it."""

    pixels: npt.NDArray[np.uint8]  # as of `load_pixels`
    facts: Facts


def load_picture(
    file: BinaryIO,
    rules: ImageRules,
    *,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    name: str,
    notes: list[str] | None = None,
) -> Decoded:
    """`load_pixels` of an open file, and what it says of itself, both of one decoding."""

    def finish(image: Image.Image, opened: Opened) -> Decoded:
        orientation = _orientation(opened)
        pixels = _prepare(image, orientation, rules)
        width, height = opened.drafted or opened.image.size
        turned = (height, width) if orientation in _SIDEWAYS else (width, height)
        facts = read_facts(opened.image, opened.shown or turned, opened.exif)
        return Decoded(pixels, replace(facts, phash=perceptual_hash(pixels)))

    file.seek(0)
    return _decode_file(file, name, _draft_side(rules), max_megapixels, finish, notes)


def load_thumbnail(
    path: str | os.PathLike[str], side: int, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Image.Image:
    """A picture as sRGB, upright, over white, scaled down to fit side x side. Raises ImageError."""
    from PIL import Image, ImageOps

    def scale_down(image: Image.Image, opened: Opened) -> Image.Image:
        flat, to_srgb = _flatten(image)
        upright = _turn_upright(flat, _orientation(opened))
        fits = max(upright.size) <= side
        small = upright if fits else ImageOps.contain(upright, (side, side), Image.Resampling.LANCZOS)
        return to_srgb(small) if to_srgb else small

    with open_picture_file(path) as file:
        return _decode_file(file, os.fspath(path), side, max_megapixels, scale_down, None)


def _file_pixels(
    file: BinaryIO, name: str, rules: ImageRules, max_megapixels: float, notes: list[str] | None
) -> npt.NDArray[np.uint8]:
    return _decode_file(
        file,
        name,
        _draft_side(rules),
        max_megapixels,
        lambda image, opened: _prepare(image, _orientation(opened), rules),
        notes,
    )


def _draft_side(rules: ImageRules) -> int | None:
    # What is not antialiased would look different after a smaller decode.
    return None if rules.resize == "bilinear" else rules.side


def _decode_file(
    file: BinaryIO,
    name: str,
    draft_side: int | None,
    max_megapixels: float,
    finish: Finish[T],
    notes: list[str] | None,
) -> T:
    """What `finish` makes of the decoded picture, of which it needs no more than twice `draft_side`.

    Where memory is short, once more: alone, and of a JPEG half as much.
    """
    with quiet_pillow():
        try:
            with _turns.together():
                wanted = None if draft_side is None else 2 * draft_side
                return _decode_once(file, name, wanted, max_megapixels, finish, notes)
        except ImageMemoryError:
            pass  # and what it held is let go
        with _turns.alone():
            file.seek(0)
            return _decode_once(file, name, draft_side, max_megapixels, finish, notes)


def _decode_once(
    file: BinaryIO,
    name: str,
    draft_side: int | None,
    max_megapixels: float,
    finish: Finish[T],
    notes: list[str] | None,
) -> T:
    with contextlib.ExitStack() as stack:
        admit = Admission(name, max_megapixels, _LARGE_MEGAPIXELS, stack)

        def open_again(content: BinaryIO) -> Opened:
            content.seek(0)
            opened = _open(content, name, admit)
            stack.enter_context(opened.image)
            full_size = opened.image.size
            _draft(opened.image, draft_side, max_megapixels)
            if opened.image.size != full_size:
                opened = opened._replace(drafted=full_size)
            admit(*full_size, _pixels_in_memory(opened.image, full_size))
            # Of a picture within the limit, Pillow still refuses a part that is larger, such as a tile of a TIFF.
            if opened.image.width * opened.image.height > pixels_refused_above():
                stack.enter_context(unlimited_pillow())
            return opened

        def decode(content: BinaryIO) -> T:
            opened = open_again(content)
            opened.image.load()
            return finish(opened.image, opened)

        def try_all() -> T:
            try:
                return decode(file)
            except (ImageError, MemoryError):
                raise
            except Exception as error:  # decoders raise anything on damaged bytes
                _refuse_shortage(error, name, admit)
                try:
                    return _decode_damaged(file, name, error, decode, open_again, finish, notes)
                except Exception as second:
                    _refuse_shortage(second, name, admit)
                    raise

        return _decode(name, try_all)


def _decode_damaged(
    file: BinaryIO,
    name: str,
    error: Exception,
    decode: Callable[[BinaryIO], T],
    open_again: Callable[[BinaryIO], Opened],
    finish: Finish[T],
    notes: list[str] | None,
) -> T:
    """What can be had of a picture that could not be decoded for `error`. Raises that where it is nothing."""
    from itl_infer.image.cut import rescue
    from itl_infer.image.formats import recognise
    from itl_infer.image.png import has_too_much_text, without_texts

    file.seek(0)
    form = recognise(file.read(HEAD_BYTES))
    if has_too_much_text(error):
        return decode(without_texts(file))
    opened: list[Opened] = []

    def open_image(content: BinaryIO) -> Image.Image:
        opened[:] = [open_again(content)]
        return opened[0].image

    try:
        part = rescue(file, form, open_image, error)
    except ImageError:
        raise
    except Exception:
        raise error from None
    if part is None:
        raise error
    if part.image is None:
        raise ImageError(name, f"{_damage(error)}; {part.note}, half is needed") from error
    made = finish(part.image, opened[0])  # not before: asked for its EXIF, a PNG decodes itself
    if notes is not None:
        notes.append(f"cut at the end: {part.note}")
    return made


def _open(file: BinaryIO, name: str, admit: Admission) -> Opened:
    """A picture not decoded yet."""
    from PIL import Image

    try:
        return open_picture(file, name, admit)
    except Image.DecompressionBombError:
        # Pillow's limit, a constant of its own, is not the one that the caller gave. To open a picture decodes
        # nothing of it, but says how large it is, and then `admit` decides.
        file.seek(0)
        with unlimited_pillow():
            return open_picture(file, name, admit)


def _draft(image: Image.Image, draft_side: int | None, max_megapixels: float) -> None:
    """JPEG: decode at 1/2, 1/4 or 1/8 while both sides stay as long as what is needed. Far faster, and smaller."""
    if image.format not in ("JPEG", "MPO"):
        return
    if draft_side is not None:
        image.draft(None, (draft_side, draft_side))
        return
    too_many = image.width * image.height / (max_megapixels * 1e6)
    if too_many > 1:  # a smaller one is better than none
        scale = 2 ** math.ceil(math.log2(too_many) / 2)
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))


def _pixels_in_memory(image: Image.Image, full_size: tuple[int, int]) -> float:
    """How many pixels the memory that decoding takes would be enough for."""
    pixels = float(image.width * image.height)
    if not image.info.get("progressive") or image.format not in ("JPEG", "MPO"):
        return pixels
    layers = [(across, down) for _, across, down, _ in getattr(image, "layer", ())] or [(1, 1)] * 3
    most = max(across for across, _ in layers) * max(down for _, down in layers)
    samples: float = (
        full_size[0] * full_size[1] * sum(across * down for across, down in layers) / max(1, most)
    )
    return max(pixels, samples * _COEFFICIENT_BYTES / BYTES_PER_PIXEL)


def _refuse_shortage(error: Exception, name: str, admit: Admission) -> None:
    """Raise ImageMemoryError where a picture failed for want of memory, or may have."""
    if is_shortage_of_memory(error) or not (isinstance(error, ImageError) or is_there_room(admit.bytes)):
        raise _shortage(name) from error


def _shortage(name: str) -> ImageMemoryError:
    return ImageMemoryError(name, f"{SHORT} to decode it: close other programs, or allow more")


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


def _decode(name: str, decode: Callable[[], T]) -> T:
    """What `decode` gives; all that it raises as ImageError."""
    with quiet_pillow():
        try:
            return decode()
        except ImageError:
            raise
        except Exception as error:  # decoders raise anything on damaged bytes
            if is_shortage_of_memory(error):
                raise _shortage(name) from error
            raise ImageError(name, _damage(error)) from error


def _prepare(image: Image.Image, orientation: int, rules: ImageRules) -> npt.NDArray[np.uint8]:
    flat, to_srgb = _flatten(image)
    return resize_to(_turn_upright(flat, orientation), rules, to_srgb)


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


def _flatten(image: Image.Image) -> tuple[Image.Image, ToSrgb | None]:
    """8-bit, without transparency; and what makes sRGB of it, where that is more than it is already.

    That is left for when it is small: a profile takes as long for a pixel as decoding does.
    """
    if "icc_profile" not in image.info and image.mode != "LAB":
        return _to_rgb(image), None
    from itl_infer.image.colour import mode_of_colours, to_srgb

    apply = to_srgb(image)
    if apply is None:
        return _to_rgb(image), None
    mode = mode_of_colours(image)
    flat = image if mode in ("CMYK", "LAB") else _to_rgb(image)
    return flat if flat.mode == mode else flat.convert(mode), apply


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
    whites = [1.0, 255.0, 65535.0, 2.0**32 - 1] if grey.dtype.kind == "f" else [65535.0, 2.0**32 - 1]
    highest = max(float(np.nan_to_num(strip).max()) for strip in _strips(grey))
    white = next((white for white in whites if highest <= white), highest)
    scaled = np.empty(grey.shape, np.uint8)
    for strip, into in zip(_strips(grey), _strips(scaled), strict=True):
        values = np.nan_to_num(strip.astype(np.float64))
        into[...] = np.rint(np.clip(values / white, 0, 1) * 255)
    return scaled


def _strips(rows: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Some rows of (H, W) at a time: whole, what is made of them would take many times the memory."""
    step = max(1, _STRIP_PIXELS // rows.shape[1])
    return (rows[top : top + step] for top in range(0, len(rows), step))


def _orientation(opened: Opened) -> int:
    return _orientation_of(opened.image) if opened.orientation is None else opened.orientation


def _orientation_of(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a picture whose notes are damaged is still a picture
        return 1


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
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


def _damage(error: Exception) -> str:
    return f"truncated or damaged: {' '.join(str(error).split()) or type(error).__name__}"
