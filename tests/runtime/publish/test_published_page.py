"""Published pages in a real browser: from a web host, from a path below one, and from a disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")

from itl_infer import Bundle, Index, Originals, Publication, Searcher, embed_directory, load_bundle
from tests.chromium import ask, found, visiting
from tests.places import SHARED
from tests.runtime.publish.sites import make_index, make_page_bundle, web_host

expect = playwright.expect
pytestmark = pytest.mark.browser
PHOTOS = SHARED / "photos"
QUERIES = [
    "surfer in a wave",
    "a man playing tennis",
    "snow on a mountain",
    "dogs",
    "red bus in a street",
    "a plate of food with vegetables",
    "boats on the water",
    "giraffe",
    "quokka on a bonsai",
    "people at a table",
    "a street without cars",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of six colours, that page as one file, and what they were made of."""
    folder = tmp_path_factory.mktemp("page")
    bundle = make_page_bundle(folder / "tiny")
    index = make_index(folder, bundle)
    (folder / "pictures" / "more" / "teal.png").write_bytes((folder / "pictures" / "red.png").read_bytes())
    embed_directory(folder / "pictures", index)
    Publication(index, folder / "host" / "site", title="Summer <b>").write()
    Publication(index, folder / "one.html", title="Summer <b>", single_file=True).write()
    Publication(index, folder / "host" / "copies", originals=Originals("copy")).write()
    Publication(
        index,
        folder / "host" / "links",
        originals=Originals("link", "https://example.org/p"),
        hide_names=False,
    ).write()
    return folder


@pytest.fixture(params=["folder", "file"])
def page(request: pytest.FixtureRequest, browser: Any, site: Path) -> Iterator[Any]:
    """The page on a wide screen from a host, below a path, and on a narrow one from a disk."""
    if request.param == "folder":
        with web_host(site / "host") as url, visiting(browser, url, at="/site/") as page:
            yield page
    else:
        with visiting(browser, (site / "one.html").as_uri(), narrow=True) as page:
            yield page


def test_it_searches_as_the_page_of_serve_does(page: Any) -> None:
    note = page.get_by_role("status")
    expect(note).to_have_text("Summer <b> · 7 pictures")
    expect(page).to_have_title("Summer <b>")
    assert ask(page, "red")[0] in ("red", "teal")
    image = page.locator("main img").first
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 20
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.url.endswith("#q=red")
    assert page.locator("#choose").is_hidden()  # a picture of one's own needs a server
    page.check("#dedupe")
    expect(page.locator("main button")).to_have_count(6)
    expect(page.locator("main .caption i").first).to_contain_text("+1 like it")
    page.uncheck("#dedupe")
    page.check("#relevant")
    expect(page.locator("main[aria-busy=false]")).to_be_attached()
    page.uncheck("#relevant")
    ask(page, "red surfr")
    expect(note).to_contain_text("unknown: surfr (did you mean surfer?)")
    note.get_by_role("button", name="surfer").click()
    expect(note).not_to_contain_text("unknown")
    ask(page, "quokka")
    expect(note).to_contain_text("bundle 'tiny' knows no word of the query: quokka")
    page.go_back()
    expect(note).to_contain_text("7 pictures")
    assert page.input_value("#text") == "red surfer"


def test_one_picture_and_more_like_it(page: Any) -> None:
    ask(page, "red blue")
    page.locator("main button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("purple.png")
    assert dialog.get_by_label("Folder of the picture").input_value() == "more"
    assert dialog.locator("dt").all_text_contents() == ["red", "blue"]
    assert dialog.locator("#picture").evaluate("image => image.decode().then(() => image.naturalWidth)") == 20
    assert dialog.locator("#original").is_hidden()
    dialog.get_by_role("button", name="More like this").click()
    page.wait_for_selector("#asked:not([hidden])")
    assert found(page)[0] == "purple"
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector("main button")
    assert found(page)[0] == "purple"


def test_completion_and_keyboard(page: Any) -> None:
    page.locator("#text").press_sequentially("red b")
    for place, words in enumerate(["red blue", "red bright"]):
        expect(page.locator("#words option").nth(place)).to_have_attribute("value", words)
    expect(page.locator("#words option")).to_have_count(2)
    page.press("#text", "Enter")


def test_what_was_typed_before_the_page_could_hear_it_is_completed(page: Any) -> None:
    """As by somebody who is quicker than the page is read."""
    page.add_init_script(
        """new MutationObserver((_, observer) => {
             const field = document.getElementById("text");
             if (!field) return;
             observer.disconnect();
             field.focus();
             field.value = "red b";
           }).observe(document, { childList: true, subtree: true })"""
    )
    page.reload()
    expect(page.locator("#words option").first).to_have_attribute("value", "red blue")
    expect(page.locator("#text")).to_have_value("red b")


def test_originals(browser: Any, site: Path) -> None:
    with web_host(site / "host") as url:
        with visiting(browser, url, at="/copies/#q=green") as page:
            page.wait_for_selector("main button")
            page.locator("main button").first.click()
            image = page.locator("#picture")
            assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 20
            assert re.search(r"/originals/\w+/green\.png$", image.get_attribute("src"))
            assert page.locator("#original").get_attribute("href") == image.get_attribute("src")
        with visiting(browser, url, at="/links/#q=red+blue") as page:
            page.wait_for_selector("main button")
            page.locator("main button").first.click()
            original = page.get_by_role("link", name="Original")
            assert original.get_attribute("href") == "https://example.org/p/more/purple.png"
            assert "example.org" not in page.locator("#picture").get_attribute("src")  # asks no one else


def test_a_folder_that_is_opened_from_a_disk_says_what_to_do(browser: Any, site: Path) -> None:
    page = browser.new_page()
    page.goto((site / "host" / "site" / "index.html").as_uri())
    hint = page.locator("#hint")
    expect(hint).to_be_visible()
    expect(hint).to_contain_text("python -m http.server")
    expect(hint).to_contain_text("--single-file")
    page.close()


def test_a_file_that_is_missing_is_said(browser: Any, site: Path) -> None:
    with web_host(site / "host") as url:
        page = browser.new_page()
        page.route("**/vectors-*", lambda route: route.abort())
        page.goto(f"{url}/site/#q=red")
        expect(page.get_by_role("status")).to_contain_text("fetch")
        page.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Index:
    if not PHOTOS.is_dir():
        pytest.skip("no ../shared/photos")
    bundle: Bundle = load_bundle()
    index = Index.open(tmp_path_factory.mktemp("photos") / "photos.itl", bundle)
    embed_directory(PHOTOS, index)
    return index


@pytest.mark.parametrize("single_file", [False, True])
def test_photographs_are_found_as_by_query(
    browser: Any, photos: Index, tmp_path: Path, single_file: bool
) -> None:
    out = tmp_path / ("one.html" if single_file else "site")
    Publication(photos, out, side=64, single_file=single_file).write()
    answers = Searcher(photos, 10).answer_many(QUERIES)
    with (
        web_host(tmp_path) as url,
        visiting(browser, out.as_uri() if single_file else f"{url}/site/") as page,
    ):
        for query, answer in zip(QUERIES, answers, strict=True):
            expected = [Path(one.path).name for one in answer.results]
            page.fill("#text", query)
            page.press("#text", "Enter")
            expect(page.locator("main .name").first).to_have_text(expected[0])
            assert found(page)[:10] == expected, query


def test_it_knows_names_that_were_taught(browser: Any, site: Path) -> None:
    index = Index.open(site / "photos.itl", load_bundle(site / "tiny"))
    index.teach("Blue Rosa", [site / "pictures" / "blue.png"])
    Publication(index, site / "host" / "named", taught=True).write()
    Publication(index, site / "named.html", taught=True, single_file=True).write()
    index.forget("Blue Rosa")
    with (
        web_host(site / "host") as url,
        visiting(browser, url, at="/named/") as of_folder,
        visiting(browser, (site / "named.html").as_uri()) as of_file,
    ):
        for page in (of_folder, of_file):
            assert ask(page, "blue rosa")[0] == "blue"
