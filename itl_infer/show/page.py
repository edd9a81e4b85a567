"""Answers as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from importlib import resources
from string import Template

from itl_infer.errors import ImageError
from itl_infer.image import load_thumbnail
from itl_infer.search import Answer, Found
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

_HTML_THUMBNAIL = 320
_JPEG_QUALITY = 82


def make_page(answers: Sequence[Answer]) -> str:
    """Answers as one HTML page that needs nothing beside it: thumbnails and style are inside, no script."""
    template = Template(resources.files("itl_infer.show").joinpath("sheet.html").read_text(encoding="utf-8"))
    titles = [html.escape(printable(str(answer.query))) for answer in answers]
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
    if answer.truth and not shows(answer, answer.truth):
        truth = answer.truth
        label = f"{truth.position} of {truth.pictures}"
        figures.append(_figure_of(truth.path, label, truth.score, "truth aside"))
    lines = "<br>".join(html.escape(printable(line)) for line in [subtitle(answer), *answer.describe()])
    grid = f'<div class="grid">{"".join(figures)}</div>' if figures else f"<p>{NOTHING_FOUND}</p>"
    return (
        f'<section id="query-{number}"><h2>{html.escape(printable(str(answer.query)))}</h2>'
        f"<p>{lines}</p>{grid}</section>"
    )


def _figure(found: Found, answer: Answer) -> str:
    kind = "truth" if is_at(found, answer.truth) else ""
    bars = "".join(
        f"<dt>{html.escape(printable(share.label))}</dt>"
        f'<dd><i class="{"for" if share.share >= 0 else "against"}"'
        f' style="width:{abs(share.share) / answer.longest_share:.1%}"></i>{share.share:+.2f}</dd>'
        for share in found.shares
    )
    below = _duplicates(found) + (f"<dl>{bars}</dl>" if bars else "")
    return _figure_of(found.path, str(found.rank), found.score, kind, below)


def _duplicates(found: Found) -> str:
    if not found.duplicates:
        return ""
    names = "".join(f"<li>{html.escape(printable(name_of(one.path)))}</li>" for one in found.duplicates)
    return f"<details><summary>{and_duplicates(found).strip()}</summary><ul>{names}</ul></details>"


def _figure_of(path: str, label: str, score: float, kind: str, below: str = "") -> str:
    name = html.escape(printable(name_of(path)))
    short = html.escape(shorten_middle(printable(name_of(path)), 22))
    try:
        with io.BytesIO() as buffer:
            load_thumbnail(path, _HTML_THUMBNAIL).save(buffer, "JPEG", quality=_JPEG_QUALITY)
            data = base64.b64encode(buffer.getvalue()).decode()
        picture = f'<img src="data:image/jpeg;base64,{data}" alt="{name}">'
    except ImageError as error:
        picture = f'<div class="empty">{html.escape(printable(error.reason))}</div>'
    return (
        f'<figure class="{kind}">{picture}<figcaption><b>{label}</b> <span>{score:.4f}</span>'
        f'<div class="name" title="{name}">{short}</div>{below}</figcaption></figure>'
    )
