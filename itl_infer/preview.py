"""Pictures in the terminal: what textual-image draws there, by the best means that the terminal has."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from itl_infer.errors import ImageError, PreviewError
from itl_infer.image import load_thumbnail

if TYPE_CHECKING:
    from rich.console import RenderableType

_THUMBNAIL = 512  # pixels, more than the rows below take up on any screen
_ROWS = 10  # of text, the height of a picture


def draw_picture(path: str) -> RenderableType:
    """A picture for rich to print: in kitty's or the sixel protocol, else in coloured half-blocks.

    What the terminal knows is asked of it at the first call, so stdout must be one. A picture that cannot be
    read is the reason why. Raises PreviewError where textual-image is missing.
    """
    try:
        from rich.text import Text

        with _asking_only_a_terminal():
            from textual_image.renderable import Image
    except ImportError as error:
        raise PreviewError("--preview needs textual-image: pip install 'itl-infer[preview]'") from error
    try:
        picture = load_thumbnail(path, _THUMBNAIL)
    except ImageError as error:
        return Text(f"({error.reason})", style="italic")
    return Image(picture, height=_ROWS)


@contextlib.contextmanager
def _asking_only_a_terminal() -> Iterator[None]:
    """Keep a stdin that is no terminal from textual-image: at import it waits there for the terminal's answer."""
    stdin = sys.__stdin__
    sys.__stdin__ = stdin if stdin and stdin.isatty() else None  # type: ignore[misc]
    try:
        yield
    finally:
        sys.__stdin__ = stdin  # type: ignore[misc]
