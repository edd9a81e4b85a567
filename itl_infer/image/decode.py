"""Read a picture, whatever its format: as the pixels that an image graph takes, or small, to be looked at."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from itl_infer.arguments import require_number, wrong
from itl_infer.errors import ImageError, ImageMemoryError, is_shortage_of_memory, reason_of
from itl_infer.image.admission import SHORT, Admission, Apart, Turns, check_size, is_there_room
from itl_infer.image.clock import Allowance, ClockedFile
from itl_infer.image.damaged import damage_of, decode_damaged
from itl_infer.image.facts import read_facts
from itl_infer.image.jpeg import blocks_in_scans, draft, is_jpeg, pixels_in_memory
from itl_infer.image.opening import Opened, open_whatever_size, require_reader
from itl_infer.image.phash import perceptual_hash
from itl_infer.image.pillow import pixels_refused_above, quiet_pillow, unlimited_pillow
from itl_infer.image.resize import resize_to
from itl_infer.image.rules import DEFAULT_MAX_MEGAPIXELS, ImageRules
from itl_infer.image.upright import SIDEWAYS, exif_orientation, orientation_of, turn_upright
from itl_infer.image.wanted import (
    Decoded,
    Finish,
    Wanted,
    pack_image,
    pack_picture,
    pack_pixels,
    unpack_image,
    unpack_picture,
    unpack_pixels,
)

if TYPE_CHECKING:
    from PIL import Image

    from itl_infer.image.colour import ToSrgb

    ImageSource: TypeAlias = str | os.PathLike[str] | BinaryIO | Image.Image | npt.NDArray[np.uint8]

_LARGE_MEGAPIXELS = 25.0  # such a picture takes hundreds of megabytes: one at a time
_STRIP_PIXELS = 2**20

_BLOCKS_IN_SCANS = 2e7  # of a JPEG: more are gone through in a process of its own
_MOST_BLOCKS = 3e8  # that a decoder can go through in a second, whatever they hold
_READ_BESIDES = 2**20  # bytes of a file that tell nothing of its pixels; with more it is suspicious
_READ_OF_A_PIXEL = 9  # bytes, at most

T = TypeVar("T")

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

    max_megapixels = require_number("max_megapixels", max_megapixels, above=0)
    if isinstance(source, np.ndarray):
        image = _from_array(source)
        return _decode("array", lambda: _prepare(image, 1, rules))
    if isinstance(source, Image.Image):
        image = source
        name = str(getattr(image, "filename", "")) or "picture"
        check_size(*image.size, image.width * image.height, name, max_megapixels)

        def prepare() -> npt.NDArray[np.uint8]:
            image.load()
            return _prepare(image, exif_orientation(image), rules)

        return _decode(name, prepare)
    if isinstance(source, (str, os.PathLike)):
        with open_picture_file(source) as file:
            return decode_file(file, os.fspath(source), _pixels(rules), max_megapixels, notes)
    if isinstance(source, io.TextIOBase) or not all(
        hasattr(source, call) for call in ("read", "seek", "tell")
    ):
        raise wrong(
            name or "picture",
            source,
            "a path, a file open to be read as bytes, a Pillow image or a uint8 array",
        )
    name = str(getattr(source, "name", "picture")) if name is None else name
    try:
        source.seek(0)
    except (OSError, ValueError) as error:  # it is closed, or a pipe
        raise ImageError(name, f"cannot be read from its start: {reason_of(error)}") from error
    return decode_file(source, name, _pixels(rules), max_megapixels, notes)


def load_picture(
    file: BinaryIO,
    rules: ImageRules,
    *,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    name: str,
    notes: list[str] | None = None,
) -> Decoded:
    """`load_pixels` of an open file, and what it says of itself, both of one decoding."""

    file.seek(0)
    return decode_file(file, name, _picture(rules), max_megapixels, notes)


def load_thumbnail(
    path: str | os.PathLike[str], side: int, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> Image.Image:
    """A picture as sRGB, upright, over white, scaled down to fit side x side. Raises ImageError."""
    with open_picture_file(path) as file:
        return decode_file(file, os.fspath(path), _thumbnail(side), max_megapixels, None)


def wanted_of(request: dict[str, Any]) -> Wanted[Any]:
    """What is wanted, by what says so in JSON."""
    if request["kind"] == "thumbnail":
        return _thumbnail(request["side"])
    rules = ImageRules(request["side"], request["resize"])
    return _picture(rules) if request["kind"] == "picture" else _pixels(rules)


def _pixels(rules: ImageRules) -> Wanted[npt.NDArray[np.uint8]]:
    return Wanted(
        {"kind": "pixels", "side": rules.side, "resize": rules.resize},
        _draft_side(rules),
        lambda image, opened: _prepare(image, orientation_of(opened), rules),
        pack_pixels,
        lambda _, body: unpack_pixels(body, rules.side),
    )


def _picture(rules: ImageRules) -> Wanted[Decoded]:
    def finish(image: Image.Image, opened: Opened) -> Decoded:
        orientation = orientation_of(opened)
        pixels = _prepare(image, orientation, rules)
        width, height = opened.drafted or opened.image.size
        turned = (height, width) if orientation in SIDEWAYS else (width, height)
        facts = read_facts(opened.image, opened.shown or turned, opened.exif)
        return Decoded(pixels, replace(facts, phash=perceptual_hash(pixels)))

    return Wanted(
        {"kind": "picture", "side": rules.side, "resize": rules.resize},
        _draft_side(rules),
        finish,
        pack_picture,
        lambda head, body: unpack_picture(head, body, rules.side),
    )


def _thumbnail(side: int) -> Wanted[Image.Image]:
    def finish(image: Image.Image, opened: Opened) -> Image.Image:
        from PIL import Image, ImageOps

        flat, to_srgb = _flatten(image)
        upright = turn_upright(flat, orientation_of(opened))
        fits = max(upright.size) <= side
        small = upright if fits else ImageOps.contain(upright, (side, side), Image.Resampling.LANCZOS)
        return to_srgb(small) if to_srgb else small

    return Wanted({"kind": "thumbnail", "side": side}, side, finish, pack_image, unpack_image)


def _draft_side(rules: ImageRules) -> int | None:
    # What is not antialiased would look different after a smaller decode.
    return None if rules.resize == "bilinear" else rules.side


def decode_file(
    file: BinaryIO,
    name: str,
    wanted: Wanted[T],
    max_megapixels: float,
    notes: list[str] | None,
    *,
    may_be_apart: bool = True,
) -> T:
    """What is wanted of the picture in an open file, at its start.

    Where memory is short, once more: alone, and of a JPEG half as much. What no header tells the cost of is decoded in
    a process of its own, where it `may_be_apart`, and where this program can start one.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    allowance = Allowance(max_megapixels)
    allowance.require_file(name, size)
    if may_be_apart:
        from itl_infer.image import apart

        may_be_apart = apart.is_possible()
    with contextlib.suppress(Apart):
        return _decode_here(file, name, wanted, allowance, notes, may_be_apart)
    require_reader(file, name)
    return apart.decode(file, name, wanted, allowance, notes, _turns)


def _decode_here(
    file: BinaryIO,
    name: str,
    wanted: Wanted[T],
    allowance: Allowance,
    notes: list[str] | None,
    may_be_apart: bool,
) -> T:
    clocked: Any = ClockedFile(file, name, allowance) if may_be_apart else file
    with quiet_pillow():
        try:
            with _turns.together():
                side = None if wanted.draft_side is None else 2 * wanted.draft_side
                return _decode_once(clocked, name, side, wanted.finish, allowance, notes, may_be_apart)
        except ImageMemoryError:
            pass  # and what it held is let go
        with _turns.alone():
            file.seek(0)
            return _decode_once(
                clocked, name, wanted.draft_side, wanted.finish, allowance, notes, may_be_apart
            )


def _decode_once(
    file: BinaryIO,
    name: str,
    draft_side: int | None,
    finish: Finish[T],
    allowance: Allowance,
    notes: list[str] | None,
    may_be_apart: bool,
) -> T:
    max_megapixels = allowance.max_megapixels
    with contextlib.ExitStack() as stack:
        admit = Admission(name, max_megapixels, _LARGE_MEGAPIXELS, stack, may_be_apart=may_be_apart)

        def open_again(content: BinaryIO) -> Opened:
            content.seek(0)
            opened = open_whatever_size(content, name, admit)
            stack.enter_context(opened.image)
            full_size = opened.image.size
            blocks = blocks_in_scans(opened.image, full_size, content) if is_jpeg(opened.image) else 0
            draft(opened.image, draft_side, max_megapixels)
            if opened.image.size != full_size:
                opened = opened._replace(drafted=full_size)
            admit(*full_size, pixels_in_memory(opened.image, full_size))
            if blocks > _MOST_BLOCKS * allowance.seconds:
                raise allowance.too_long(name)
            if blocks > _BLOCKS_IN_SCANS or _tells_too_much(content, full_size):
                admit.suspect()
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
                    return decode_damaged(file, name, error, decode, open_again, finish, notes)
                except Exception as second:
                    _refuse_shortage(second, name, admit)
                    raise

        return _decode(name, try_all)


def _tells_too_much(file: BinaryIO, size: tuple[int, int]) -> bool:
    """Whether a file is longer than pixels make it: notes, profiles or other pictures that are read with it."""
    return _length_of(file) > _READ_BESIDES + _READ_OF_A_PIXEL * size[0] * size[1]


def _length_of(file: BinaryIO) -> int:
    """In bytes. Asked of the system where it can be: to go to the end loses what is read ahead of a file."""
    try:
        return os.fstat(file.fileno()).st_size
    except (OSError, AttributeError):
        place = file.tell()
        length = file.seek(0, io.SEEK_END)
        file.seek(place)
        return length


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
            raise ImageError(name, damage_of(error)) from error


def _prepare(image: Image.Image, orientation: int, rules: ImageRules) -> npt.NDArray[np.uint8]:
    flat, to_srgb = _flatten(image)
    return resize_to(turn_upright(flat, orientation), rules, to_srgb)


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
