"""Captions one a line, as Flickr30k and Flickr8k come: token files, and Kaggle's two kinds of table."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path, PurePosixPath

from itl_infer.captions.listing import Gathering, Listing, numbered_lines
from itl_infer.errors import CaptionsError
from itl_infer.image import IMAGE_SUFFIXES

_TOKEN = re.compile(r"(?P<image>[^\t]+)#(?P<number>\d+)[ ]*\t(?P<caption>.*)")  # first tab, then last "#"

# The second bar may be missing: Kaggle's results.csv has one such row.
_BARS = re.compile(r"(?P<image>[^|]+?)\s*\|\s*(?P<number>\d+)\s*(?P<bar>\||\s)(?P<caption>.*)")

_IMAGE_COLUMNS = {"image", "image_name", "image_path", "file_name", "filename"}
_CAPTION_COLUMNS = {"caption", "comment"}


def is_token(line: str) -> bool:
    return _TOKEN.fullmatch(line) is not None


def read_token(path: Path, text: str) -> Listing:
    """`name.jpg#0<TAB>caption`: results_20130124.token, Flickr8k.token.txt."""
    gathering = Gathering("Flickr token file")
    for number, line in numbered_lines(text):
        if match := _TOKEN.fullmatch(line):
            gathering.add_caption(match["image"], match["caption"], f"{path}:{number}", match["number"])
        else:
            gathering.skip(f"{path}:{number}", line, "line is not NAME#NUMBER, a tab, a caption")
    return gathering.listing()


def is_bars(line: str) -> bool:
    return _BARS.fullmatch(line) is not None or _is_bars_header(line)


def _is_bars_header(line: str) -> bool:
    return line.partition("|")[0].strip().lower() in _IMAGE_COLUMNS


def read_bars(path: Path, text: str) -> Listing:
    """`name.jpg| 0| caption`: Kaggle's results.csv of Flickr30k, with or without its header; no quoting."""
    gathering = Gathering("Flickr30k table")
    for position, (number, line) in enumerate(numbered_lines(text)):
        where = f"{path}:{number}"
        if match := _BARS.fullmatch(line):
            if match["bar"] != "|":
                gathering.notes.append(f"{where}: second bar missing, read as caption {match['number']}")
            gathering.add_caption(match["image"], match["caption"], where, match["number"])
        elif position > 0 or not _is_bars_header(line):
            gathering.skip(where, line, "line is not NAME| NUMBER| CAPTION")
    return gathering.listing()


def is_commas(line: str) -> bool:
    return _is_commas_header(line) or _begins_row(line)


def _is_commas_header(line: str) -> bool:
    columns = [column.strip().lower() for column in line.split(",")]
    return len(columns) in (2, 3) and columns[0] in _IMAGE_COLUMNS and columns[-1] in _CAPTION_COLUMNS


def _begins_row(line: str) -> bool:
    """Whether the line begins with the name of a picture and a comma."""
    name, comma, _ = line.partition(",")
    return bool(comma) and PurePosixPath(name.strip(' "')).suffix.lower() in IMAGE_SUFFIXES


def read_commas(path: Path, text: str) -> Listing:
    """`image,caption`, `image_name,comment_number,comment`: Kaggle's captions.txt of Flickr8k, Flickr30k.

    A caption is the rest of its row, commas included, whether it is quoted or not.
    """
    gathering = Gathering("CSV table")
    lines = list(io.StringIO(text, newline=None))
    rows = csv.reader(lines)
    numbered: bool | None = None  # known from the header, or else from the first row
    end = 0
    try:
        for row in rows:
            start, end = end + 1, rows.line_num
            where = f"{path}:{start}"
            for inner in range(
                start, end
            ):  # a quoted caption may span lines; one that eats the next row may not
                if _begins_row(lines[inner]):
                    raise CaptionsError(
                        f"{where}: a quotation mark is not closed: close it, or write it twice"
                    )
            if not any(field.strip() for field in row):
                continue
            if numbered is None:
                header = _is_commas_header(",".join(row))
                numbered = len(row) > 2 and (header or row[1].strip().isdecimal())
                if header:
                    continue
            if len(row) < 2 + numbered or not row[0].strip():
                gathering.skip(where, ",".join(row), "line is not a picture's name and a caption")
                continue
            caption = ",".join(row[1 + numbered :])
            gathering.add_caption(row[0].strip(), caption, where, row[1].strip() if numbered else "")
    except csv.Error as error:
        raise CaptionsError(f"{path}:{end + 1}: not a CSV table ({error})") from error
    return gathering.listing()
