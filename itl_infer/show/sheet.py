"""Contact sheets: answers as a grid of pictures, in one PNG or JPEG picture or one HTML page."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from itl_infer.arguments import require_instance, require_path, require_several
from itl_infer.errors import SheetError, reason_of
from itl_infer.files import replacing
from itl_infer.search import Answer
from itl_infer.show.page import make_page
from itl_infer.show.picture import draw_sheet

_SUFFIXES = (".png", ".jpg", ".jpeg", ".html", ".htm")


def write_sheet(answers: Sequence[Answer], path: str | os.PathLike[str]) -> None:
    """Write a sheet of one answer as .png or .jpg, of any number as .html. Raises SheetError.

    A picture that cannot be read is shown as an empty frame that says so.
    """
    require_path("path", path)
    answers = require_several("answers", answers, "answers", _require_answer)
    path = Path(path)
    suffix = require_sheet_name(path)
    if suffix in (".html", ".htm"):
        content = make_page(answers).encode(errors="backslashreplace")
    elif len(answers) == 1:
        buffer = io.BytesIO()
        form = "PNG" if suffix == ".png" else "JPEG"
        draw_sheet(answers[0]).save(buffer, form, quality=90, optimize=True)
        content = buffer.getvalue()
    else:
        raise SheetError(
            f"{path}: a picture has room for one query, not for {len(answers)}: name an .html file"
        )
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise SheetError(f"{path}: cannot be written: {reason_of(error)}") from error


def _require_answer(name: str, value: object) -> None:
    require_instance(name, value, Answer, "an answer, as Searcher.answer() gives it")


def require_sheet_name(path: Path) -> str:
    """What the name ends in, in lower case. Raises SheetError for what is no sheet."""
    if path.suffix.lower() not in _SUFFIXES:
        raise SheetError(f"{path}: a sheet is a .png, .jpg or .html file")
    return path.suffix.lower()
