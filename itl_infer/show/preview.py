"""Pictures in the terminal: by the best means that it has, of which textual-image knows all but iTerm2's own."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from itl_infer.errors import ImageError, MissingExtraError
from itl_infer.image import load_thumbnail

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_THUMBNAIL = 512  # pixels, more than the rows below take up on any screen
_ROWS = 10  # of text, the height of a picture


def draw_picture(path: str) -> RenderableType:
    """A picture for rich to print: in iTerm2's, kitty's or the sixel protocol, else in coloured half-blocks.

    What the terminal knows is asked of it at the first call, so stdout must be one; only iTerm2 says so in the
    environment. A picture that cannot be read is the reason why. Raises MissingExtraError.
    """
    try:
        from rich.text import Text

        with _asking_only_a_terminal():
            from textual_image.renderable import Image
    except ImportError as error:
        raise MissingExtraError("--preview", "textual-image", "preview") from error
    try:
        picture = load_thumbnail(path, _THUMBNAIL)
    except ImageError as error:
        return Text(f"({error.reason})", style="italic")
    return _ITerm2Picture(picture) if _is_iterm2() else Image(picture, height=_ROWS)


class _ITerm2Picture:
    """https://iterm2.com/documentation-images.html: a file in base64, which the terminal scales itself."""

    def __init__(self, picture: Image.Image) -> None:
        file = io.BytesIO()
        picture.save(file, "PNG")
        shown = f"inline=1;size={file.tell()};height={_ROWS};preserveAspectRatio=1"
        self._sequence = f"\x1b]1337;File={shown}:{base64.b64encode(file.getvalue()).decode()}\a"
        if "TMUX" in os.environ:  # which passes on what is wrapped so, each escape in it doubled
            self._sequence = "\x1bPtmux;{}\x1b\\".format(self._sequence.replace("\x1b", "\x1b\x1b"))

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        from rich.segment import ControlType, Segment

        yield Segment(self._sequence, None, [(ControlType.CURSOR_FORWARD, 0)])  # a control: left as it is
        yield Segment.line()


def _is_iterm2() -> bool:
    """LC_TERMINAL is what ssh and tmux pass on of it."""
    return os.environ.get("TERM_PROGRAM") == "iTerm.app" or os.environ.get("LC_TERMINAL") == "iTerm2"


@contextlib.contextmanager
def _asking_only_a_terminal() -> Iterator[None]:
    """Keep a stdin that is no terminal from textual-image: at import it waits there for the terminal's answer."""
    stdin = sys.__stdin__
    sys.__stdin__ = stdin if stdin and stdin.isatty() else None  # type: ignore[misc]
    try:
        yield
    finally:
        sys.__stdin__ = stdin  # type: ignore[misc]
