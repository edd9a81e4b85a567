"""A Chromium of the system's, as a fixture for whoever imports it, and pages that may do nothing wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield running
        running.close()


@contextmanager
def visiting(browser: Any, url: str, *, at: str = "", narrow: bool = False) -> Iterator[Any]:
    """A page of `url`, opened at `at` below it; nothing may go wrong in it, and it may ask no one else."""
    context = browser.new_context(
        viewport=NARROW if narrow else WIDE,
        color_scheme="dark" if narrow else "light",
        has_touch=narrow,
        permissions=["clipboard-read", "clipboard-write"],
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
    page.on(
        "request",
        lambda asked: (
            problems.append(asked.url) if not asked.url.startswith((url, "blob:", "data:")) else None
        ),
    )
    page.goto(url + at)
    try:
        yield page
        assert problems == []
    finally:
        context.close()


def found(page: Any) -> list[str]:
    """The names of the pictures on the page, once they are those of the last search."""
    page.wait_for_selector("main[aria-busy=false]")
    return [name.removesuffix(".png") for name in page.locator("main .name").all_text_contents()]


def ask(page: Any, text: str) -> list[str]:
    page.fill("#text", text)
    page.press("#text", "Enter")
    return found(page)
