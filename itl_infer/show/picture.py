"""One answer as a picture: a grid of thumbnails, with rank, score, name and shares under each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from itl_infer.errors import ImageError
from itl_infer.image import load_thumbnail
from itl_infer.search import Answer
from itl_infer.show.wording import (
    NOTHING_FOUND,
    and_duplicates,
    is_at,
    name_of,
    printable,
    shorten_middle,
    shows,
    subtitle,
)

if TYPE_CHECKING:
    from PIL import Image, ImageFont


_THUMBNAIL = 224  # pixels, the side of the square that a picture is fitted in
_GAP = 16
_LINE = 20
_FONT_SIZE = 14
_TITLE_SIZE = 22
_CAPTION = 6  # pixels between a thumbnail and its label
_MIN_COLUMNS, _MAX_COLUMNS = 2, 10
_PAPER, _INK, _FAINT, _FRAME, _EMPTY = "#ffffff", "#1b1b1b", "#6b6b6b", "#d40000", "#e4e4e4"
_BAR = 64  # pixels of the longest bar
_BAR_FOR, _BAR_AGAINST = "#3b7dd8", "#d98032"
# Where letters beyond Latin are wanted; Pillow's own font has none, and is there everywhere.
_FONTS = ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")


def draw_sheet(answer: Answer) -> Image.Image:
    """One answer as a picture: a grid with rank, score and name under each thumbnail."""
    from PIL import Image, ImageDraw

    cells = [
        _Cell(
            found.path,
            f"{found.rank}   {found.score:.4f}{and_duplicates(found)}",
            is_truth=is_at(found, answer.truth),
            bars=[(share.label, share.share, share.share / answer.longest_share) for share in found.shares],
        )
        for found in answer.results
    ]
    aside = None
    if answer.truth and not shows(answer, answer.truth):
        label = f"{answer.truth.position} of {answer.truth.pictures}   {answer.truth.score:.4f}"
        aside = _Cell(answer.truth.path, label, is_truth=True)
    columns = max(_MIN_COLUMNS, min(_MAX_COLUMNS, math.ceil(math.sqrt(len(cells)))))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) + _GAP for row in rows] or [2 * _LINE]
    if aside:
        heights[0] = max(heights[0], aside.height + _GAP)
    step = _THUMBNAIL + _GAP
    words = answer.describe()
    top = _GAP + (3 + len(words)) * _LINE
    width = _GAP + columns * step + (step + 2 * _GAP if aside else 0)
    sheet = Image.new("RGB", (width, top + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    title, text = _font(_TITLE_SIZE), _font(_FONT_SIZE)
    room = width - 2 * _GAP
    draw.text((_GAP, _GAP), _shorten(printable(str(answer.query)), title, room), _INK, title)
    draw.text((_GAP, _GAP + 1.6 * _LINE), _shorten(subtitle(answer), text, room), _FAINT, text)
    for number, line in enumerate(words, start=1):
        below = _GAP + (1.6 + number) * _LINE
        draw.text((_GAP, below), _shorten(printable(line), text, room), _FAINT, text)
    if not cells:
        draw.text((_GAP, top), NOTHING_FOUND, _FAINT, text)
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
        self.label, self.name, self.is_truth = label, name_of(path), is_truth
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
        draw.text((left, below + _LINE), _shorten(printable(self.name), font, _THUMBNAIL), _FAINT, font)
        for number, (label, share, length) in enumerate(self.bars, start=2):
            top, middle = below + number * _LINE, left + _THUMBNAIL // 2
            draw.text((left, top), _shorten(printable(label), font, _THUMBNAIL // 2 - _GAP), _INK, font)
            end = middle + round(abs(length) * _BAR)
            colour = _BAR_FOR if share >= 0 else _BAR_AGAINST
            draw.rectangle((middle, top + 4, max(end, middle + 1), top + _LINE - 6), colour)
            draw.text((end + 5, top), f"{share:+.2f}", _FAINT, font)


def _placeholder(reason: str) -> Image.Image:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL * 3 // 4), _EMPTY)
    font = _font(_FONT_SIZE)
    for number, line in enumerate(_wrap(printable(reason), font, _THUMBNAIL - 2 * _GAP)[:7]):
        ImageDraw.Draw(picture).text((_GAP, _GAP + number * _LINE), line, _FAINT, font)
    return picture


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
