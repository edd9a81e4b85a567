"""Contact sheets: answers as a grid of pictures, in one PNG or JPEG picture or one HTML page."""

from __future__ import annotations

import base64
import html
import io
import math
import os
from collections.abc import Sequence
from importlib import resources
from itertools import accumulate
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from itl_infer.errors import ImageError, SheetError
from itl_infer.image import load_thumbnail
from itl_infer.search import Answer, Found, Place

if TYPE_CHECKING:
    from PIL import Image, ImageFont

_SUFFIXES = (".png", ".jpg", ".jpeg", ".html", ".htm")

_THUMBNAIL = 224  # pixels, the side of the square that a picture is fitted in
_HTML_THUMBNAIL = 320
_GAP = 16
_LINE = 20
_FONT_SIZE = 14
_TITLE_SIZE = 22
_CAPTION = 6  # pixels between a thumbnail and its label
_MIN_COLUMNS, _MAX_COLUMNS = 2, 10
_NOTHING_FOUND = "No picture passed."
_PAPER, _INK, _FAINT, _FRAME, _EMPTY = "#ffffff", "#1b1b1b", "#6b6b6b", "#d40000", "#e4e4e4"
_BAR = 64  # pixels of the longest bar
_BAR_FOR, _BAR_AGAINST = "#3b7dd8", "#d98032"
_JPEG_QUALITY = 82
# Where letters beyond Latin are wanted; Pillow's own font has none, and is there everywhere.
_FONTS = ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")


def write_sheet(answers: Sequence[Answer], path: str | os.PathLike[str]) -> None:
    """Write a sheet of one answer as .png or .jpg, of any number as .html. Raises SheetError.

    A picture that cannot be read is shown as an empty frame that says so.
    """
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
        path.write_bytes(content)
    except OSError as error:
        raise SheetError(f"{path}: cannot be written: {error.strerror or error}") from error


def require_sheet_name(path: Path) -> str:
    """What the name ends in, in lower case. Raises SheetError for what is no sheet."""
    if path.suffix.lower() not in _SUFFIXES:
        raise SheetError(f"{path}: a sheet is a .png, .jpg or .html file")
    return path.suffix.lower()


def draw_sheet(answer: Answer) -> Image.Image:
    """One answer as a picture: a grid with rank, score and name under each thumbnail."""
    from PIL import Image, ImageDraw

    cells = [
        _Cell(
            found.path,
            f"{found.rank}   {found.score:.4f}{_and_duplicates(found)}",
            is_truth=_is(found, answer.truth),
            bars=[(share.label, share.share, share.share / answer.longest_share) for share in found.shares],
        )
        for found in answer.results
    ]
    aside = None
    if answer.truth and not _shows(answer, answer.truth):
        label = f"{answer.truth.position} of {answer.truth.pictures}   {answer.truth.score:.4f}"
        aside = _Cell(answer.truth.path, label, is_truth=True)
    columns = max(_MIN_COLUMNS, min(_MAX_COLUMNS, math.ceil(math.sqrt(len(cells)))))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) + _GAP for row in rows] or [2 * _LINE]
    if aside:
        heights[0] = max(heights[0], aside.height + _GAP)
    step = _THUMBNAIL + _GAP
    words = answer.describe_words()
    top = _GAP + (3 + len(words)) * _LINE
    width = _GAP + columns * step + (step + 2 * _GAP if aside else 0)
    sheet = Image.new("RGB", (width, top + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    title, text = _font(_TITLE_SIZE), _font(_FONT_SIZE)
    room = width - 2 * _GAP
    draw.text((_GAP, _GAP), _shorten(_printable(str(answer.query)), title, room), _INK, title)
    draw.text((_GAP, _GAP + 1.6 * _LINE), _shorten(_subtitle(answer), text, room), _FAINT, text)
    for number, line in enumerate(words, start=1):
        below = _GAP + (1.6 + number) * _LINE
        draw.text((_GAP, below), _shorten(_printable(line), text, room), _FAINT, text)
    if not cells:
        draw.text((_GAP, top), _NOTHING_FOUND, _FAINT, text)
    for row, below in zip(rows, accumulate(heights, initial=top), strict=False):
        bottom = below + max(cell.picture.height for cell in row)
        for column, cell in enumerate(row):
            cell.draw_on(sheet, _GAP + column * step, bottom, text)
    if aside:
        left = width - step
        draw.line((left - 1.5 * _GAP, top, left - 1.5 * _GAP, sheet.height - _GAP), _EMPTY, 2)
        aside.draw_on(sheet, left, top + aside.picture.height, text)
    return sheet


class _Cell:
    """One picture on a sheet: its thumbnail, or what is wrong with it, and what stands below."""

    def __init__(
        self, path: str, label: str, *, is_truth: bool, bars: Sequence[tuple[str, float, float]] = ()
    ) -> None:
        self.label, self.name, self.is_truth = label, _name(path), is_truth
        self.bars = bars  # label, share, and length from -1 to 1
        try:
            self.picture = load_thumbnail(path, _THUMBNAIL)
        except ImageError as error:
            self.picture = _placeholder(error.reason)

    @property
    def height(self) -> int:
        return self.picture.height + _CAPTION + (2 + len(self.bars)) * _LINE

    def draw_on(self, sheet: Image.Image, left: int, bottom: int, font: ImageFont.FreeTypeFont) -> None:
        """With the lower edge of the thumbnail at `bottom`."""
        from PIL import ImageDraw

        draw = ImageDraw.Draw(sheet)
        place = (left + (_THUMBNAIL - self.picture.width) // 2, bottom - self.picture.height)
        sheet.paste(self.picture, place)
        if self.is_truth:
            right = place[0] + self.picture.width
            draw.rectangle((place[0] - 5, place[1] - 5, right + 4, bottom + 4), outline=_FRAME, width=5)
        below = bottom + _CAPTION
        draw.text((left, below), self.label, _FRAME if self.is_truth else _INK, font)
        draw.text((left, below + _LINE), _shorten(_printable(self.name), font, _THUMBNAIL), _FAINT, font)
        for number, (label, share, length) in enumerate(self.bars, start=2):
            top, middle = below + number * _LINE, left + _THUMBNAIL // 2
            draw.text((left, top), _shorten(_printable(label), font, _THUMBNAIL // 2 - _GAP), _INK, font)
            end = middle + round(abs(length) * _BAR)
            colour = _BAR_FOR if share >= 0 else _BAR_AGAINST
            draw.rectangle((middle, top + 4, max(end, middle + 1), top + _LINE - 6), colour)
            draw.text((end + 5, top), f"{share:+.2f}", _FAINT, font)


def _placeholder(reason: str) -> Image.Image:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL * 3 // 4), _EMPTY)
    font = _font(_FONT_SIZE)
    for number, line in enumerate(_wrap(_printable(reason), font, _THUMBNAIL - 2 * _GAP)[:7]):
        ImageDraw.Draw(picture).text((_GAP, _GAP + number * _LINE), line, _FAINT, font)
    return picture


def make_page(answers: Sequence[Answer]) -> str:
    """Answers as one HTML page that needs nothing beside it: thumbnails and style are inside, no script."""
    template = Template(resources.files("itl_infer").joinpath("sheet.html").read_text(encoding="utf-8"))
    titles = [html.escape(_printable(str(answer.query))) for answer in answers]
    contents = "".join(
        f'<li><a href="#query-{number}">{title}</a></li>' for number, title in enumerate(titles, start=1)
    )
    return template.substitute(
        title=titles[0] if len(titles) == 1 else f"{len(titles)} queries",
        contents=f"<nav><ol>{contents}</ol></nav>" if len(titles) > 1 else "",
        sections="\n".join(_section(number, answer) for number, answer in enumerate(answers, start=1)),
    )


def _section(number: int, answer: Answer) -> str:
    figures = [_figure(found, answer) for found in answer.results]
    if answer.truth and not _shows(answer, answer.truth):
        truth = answer.truth
        label = f"{truth.position} of {truth.pictures}"
        figures.append(_figure_of(truth.path, label, truth.score, "truth aside"))
    lines = "<br>".join(
        html.escape(_printable(line)) for line in [_subtitle(answer), *answer.describe_words()]
    )
    grid = f'<div class="grid">{"".join(figures)}</div>' if figures else f"<p>{_NOTHING_FOUND}</p>"
    return (
        f'<section id="query-{number}"><h2>{html.escape(_printable(str(answer.query)))}</h2>'
        f"<p>{lines}</p>{grid}</section>"
    )


def _figure(found: Found, answer: Answer) -> str:
    kind = "truth" if _is(found, answer.truth) else ""
    bars = "".join(
        f"<dt>{html.escape(_printable(share.label))}</dt>"
        f'<dd><i class="{"for" if share.share >= 0 else "against"}"'
        f' style="width:{abs(share.share) / answer.longest_share:.1%}"></i>{share.share:+.2f}</dd>'
        for share in found.shares
    )
    below = _duplicates(found) + (f"<dl>{bars}</dl>" if bars else "")
    return _figure_of(found.path, str(found.rank), found.score, kind, below)


def _duplicates(found: Found) -> str:
    if not found.duplicates:
        return ""
    names = "".join(f"<li>{html.escape(_printable(_name(one.path)))}</li>" for one in found.duplicates)
    return f"<details><summary>{_and_duplicates(found).strip()}</summary><ul>{names}</ul></details>"


def _and_duplicates(found: Found) -> str:
    return f"   +{len(found.duplicates)} like it" if found.duplicates else ""


def _figure_of(path: str, label: str, score: float, kind: str, below: str = "") -> str:
    name = html.escape(_printable(_name(path)))
    short = html.escape(shorten_middle(_printable(_name(path)), 22))
    try:
        with io.BytesIO() as buffer:
            load_thumbnail(path, _HTML_THUMBNAIL).save(buffer, "JPEG", quality=_JPEG_QUALITY)
            data = base64.b64encode(buffer.getvalue()).decode()
        picture = f'<img src="data:image/jpeg;base64,{data}" alt="{name}">'
    except ImageError as error:
        picture = f'<div class="empty">{html.escape(_printable(error.reason))}</div>'
    return (
        f'<figure class="{kind}">{picture}<figcaption><b>{label}</b> <span>{score:.4f}</span>'
        f'<div class="name" title="{name}">{short}</div>{below}</figcaption></figure>'
    )


def shorten_middle(text: str, length: int) -> str:
    """A text of at most `length` characters; what is too long loses its middle, as names differ at both ends."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def _shorten(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Shortened in the middle until it is no wider than `room` pixels."""
    length = len(text)
    while length > 1 and font.getlength(shorten_middle(text, length)) > room:
        length = min(length - 1, int(length * 1.05 * room / font.getlength(shorten_middle(text, length))))
    return shorten_middle(text, length)


def _wrap(text: str, font: ImageFont.FreeTypeFont, room: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(_shorten(word, font, room))
    return [line for line in lines if line]


def _subtitle(answer: Answer) -> str:
    shown = f"{len(answer.results)} of {answer.pictures} pictures"
    return f"{shown}  ·  {_name(answer.truth.path)}: {answer.truth}" if answer.truth else shown


def _shows(answer: Answer, place: Place) -> bool:
    return any(_is(found, place) for found in answer.results)


def _is(found: Found, place: Place | None) -> bool:
    return place is not None and place.path == found.path


def _name(path: str) -> str:
    return Path(path).name


def _printable(text: str) -> str:
    """Text that any font and browser takes: other characters, and bytes that are no text, as a box."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _font(size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # for every Pillow that has FreeType, as all wheels do
    return font
