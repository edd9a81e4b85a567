"""The page of `serve` in a real browser: more pictures by scrolling, links, where a picture lies, an empty index,
and a proxy that shows it below a path."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from itl_infer import Index, embed_directory, load_bundle
from tests.chromium import ask, found, visiting
from tests.runtime.web.helpers import serving

expect = playwright.expect
pytestmark = pytest.mark.browser
PICTURES = 150


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """Ever less red pictures."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "pictures" / "summer").mkdir(parents=True)
    for number in range(PICTURES):
        name = folder / "pictures" / "summer" / f"red {number:03}.png"
        Image.new("RGB", (20, 10), (255 - number, number, 0)).save(name)
    embed_directory(folder / "pictures", Index.open(folder / "photos.itl", load_bundle(tiny_bundle)))
    return folder / "photos.itl"


@pytest.fixture(scope="module")
def url(index: Path, tiny_bundle: Path) -> Iterator[str]:
    with serving(index, tiny_bundle) as (address, _):
        yield address


def wait_for(page: Any, pictures: int) -> None:
    page.wait_for_function("count => document.querySelectorAll('main button').length === count", arg=pictures)


def test_scrolling_brings_more_until_there_are_no_more(browser: Any, url: str) -> None:
    with visiting(browser, url) as page:
        assert len(ask(page, "red")) == 60
        expect(page.get_by_role("status")).to_contain_text("the best 60 pictures, more below")
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        wait_for(page, 120)
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        wait_for(page, PICTURES)
        assert found(page) == [f"red {number:03}" for number in range(PICTURES)]
        ranks = page.locator("main .caption b").all_text_contents()
        assert ranks == [str(rank) for rank in range(1, PICTURES + 1)]
        expect(page.get_by_role("status")).to_have_text("150 pictures")
        assert len(ask(page, "bright")) == 60  # another search begins anew
        assert page.evaluate("scrollY") == 0


def test_the_next_picture_and_arrow_keys_bring_more_too(browser: Any, url: str) -> None:
    with visiting(browser, url, at="/#q=red") as page:
        wait_for(page, 60)
        page.locator("main button").nth(58).click()
        wait_for(page, 120)
        for _ in range(3):
            page.get_by_role("button", name="Next picture").click()
        expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("red 061.png")
        page.keyboard.press("Escape")
        expect(page.locator("main button").nth(61)).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(page.locator("main button").nth(62)).to_be_focused()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowDown")
        columns = page.evaluate("getComputedStyle(document.querySelector('main')).gridTemplateColumns").split(
            " "
        )
        expect(page.locator("main button").nth(len(columns))).to_be_focused()
        page.keyboard.press("/")
        expect(page.locator("#text")).to_be_focused()


def test_links(browser: Any, url: str) -> None:
    for link in ("/#q=red", "/?q=red"):  # and as they were written before
        with visiting(browser, url, at=link) as page:
            wait_for(page, 60)
            assert page.input_value("#text") == "red"
            ask(page, "bright wave")
            assert page.url == f"{url}/#q=bright+wave"
            page.go_back()
            expect(page.locator("main .name").first).to_have_text("red 000.png")


def test_where_a_picture_lies(browser: Any, url: str, index: Path) -> None:
    with visiting(browser, url, at="/#q=red") as page:
        page.locator("main button").first.click()
        folder = page.get_by_role("dialog").get_by_label("Folder of the picture")
        assert folder.input_value() == str(index.parent / "pictures" / "summer")
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == str(index.parent / "pictures" / "summer")


def test_an_empty_index_says_what_to_do_and_sees_it_done(
    browser: Any, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = load_bundle(tiny_bundle)
    index = Index.open(tmp_path / "photos.itl", bundle)
    with index.writing() as writer:
        writer.commit()
    with serving(index.path, tiny_bundle) as (url, _), visiting(browser, url) as page:
        note = page.get_by_role("status")
        expect(note).to_contain_text(f"itl-infer embed-images PICTURES -d {index.path}")
        assert ask(page, "red") == []
        expect(note).to_contain_text("itl-infer embed-images")
        page.fill("#text", "")
        page.press("#text", "Enter")
        Image.new("RGB", (20, 10), "red").save(tmp_path / "red.png")
        embed_directory(tmp_path / "red.png", index)
        expect(note).to_have_text("1 pictures · bundle tiny: plain colours")


@contextmanager
def proxy(upstream: str, takes_off: bool) -> Iterator[str]:
    """Shows `upstream` below /photos, and takes that off requests or leaves it there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            connection = HTTPConnection(urlsplit(upstream).netloc)
            path = self.path.removeprefix("/photos") if takes_off else self.path
            connection.request("GET", path, headers={"Host": self.headers["Host"]})
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.send_response(answer.status)
            for name in ("Content-Type", "Content-Security-Policy", "Location"):
                if answer.headers[name]:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()


@pytest.mark.parametrize(
    ("takes_off", "options", "at"),
    [
        (True, (), "/photos/"),
        (True, ("--root-path", "/photos"), "/photos/"),
        (False, ("--root-path", "photos/"), "/photos"),
    ],
)
def test_below_a_path(
    browser: Any, index: Path, tiny_bundle: Path, takes_off: bool, options: tuple[str, ...], at: str
) -> None:
    with (
        serving(index, tiny_bundle, *options) as (address, _),
        proxy(address, takes_off) as url,
        visiting(browser, url, at=at) as page,
    ):
        expect(page.get_by_role("status")).to_contain_text("150 pictures")
        assert ask(page, "red")[0] == "red 000"
        assert (
            page.locator("main img").first.evaluate("image => image.decode().then(() => image.naturalWidth)")
            == 20
        )
        assert page.url == f"{url}/photos/#q=red"
