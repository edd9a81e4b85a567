"""Pictures that could not be decoded: what can be had of them all the same, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from itl_infer.errors import ImageError
from itl_infer.image.formats import HEAD_BYTES, recognise
from itl_infer.image.opening import Opened
from itl_infer.image.wanted import Finish

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")


def decode_damaged(
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
        raise ImageError(name, f"{damage_of(error)}; {part.note}, half is needed") from error
    made = finish(part.image, opened[0])  # not before: asked for its EXIF, a PNG decodes itself
    if notes is not None:
        notes.append(f"cut at the end: {part.note}")
    return made


def damage_of(error: Exception) -> str:
    return f"truncated or damaged: {' '.join(str(error).split()) or type(error).__name__}"
