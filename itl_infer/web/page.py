"""The page itself: its files, and its HTML for whoever hands it out: a server, or a folder that is published."""

from __future__ import annotations

import html
from pathlib import Path
from string import Template

STATIC = Path(__file__).parent / "static"


def make_html(
    *, title: str, head: str = "", foot: str = "", hint: str = "", folder: str = "static/", script: str = ""
) -> str:
    """The page, with addresses that are relative unless `folder`, where its files are, is not.

    `title` and `hint`, which is shown where the page does not run, are texts; `head` and `foot` are HTML. Without a
    `script`, the name of the module that starts the page, the page's files are in `head` and `foot`.
    """
    if script:
        head += (
            f'\n<link rel="icon" href="{html.escape(folder)}icon.svg">'
            f'\n<link rel="stylesheet" href="{html.escape(folder)}page.css">'
            f'\n<script src="{html.escape(folder + script)}" type="module"></script>'
        )
    hint = f'\n  <p id="hint">{html.escape(hint)}</p>' if hint else ""
    template = Template((STATIC / "index.html").read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), hint=hint, head=head, foot=foot)
