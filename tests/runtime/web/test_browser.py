"""The page in a real browser: type, see, click, drop a picture, keyboard only, a narrow screen.

Marked `browser`, and skipped where Playwright or a Chromium of the system's is missing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from itl_infer import Index, embed_directory, load_bundle
from tests.chromium import ask, found, visiting
from tests.runtime.web.helpers import serving
from tests.tiny_bundle import save_colours

expect = playwright.expect
pytestmark = pytest.mark.browser
COLOURS = ["red", "green", "blue", "white", "purple", "yellow", "orange", "teal"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browser")
    save_colours(folder / "pictures", COLOURS)
    embed_directory(folder / "pictures", Index.open(folder / "photos.itl", load_bundle(tiny_bundle)))
    (folder / "pictures" / "teal.png").write_bytes(b"garbage")
    with serving(folder / "photos.itl", tiny_bundle) as (address, _):
        yield address


@pytest.fixture(params=["wide", "narrow"])
def page(request: pytest.FixtureRequest, browser: Any, url: str) -> Iterator[Any]:
    """The page, on two screens."""
    with visiting(browser, url, narrow=request.param == "narrow") as page:
        yield page


def test_type_and_see(page: Any) -> None:
    expect(page.get_by_role("status")).to_have_text("8 pictures · bundle tiny: plain colours")
    assert ask(page, "red")[0] == "red"
    assert len(found(page)) == 8
    image = page.locator("main img").first
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 20
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    broken = page.locator("main button", has_text="teal").locator("img")
    broken.scroll_into_view_if_needed()
    assert broken.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320  # a placeholder
    page.check("#relevant")
    page.uncheck("#relevant")
    assert ask(page, "blue")[0] == "blue"
    page.go_back()
    expect(page.locator("main .name").first).to_have_text("red.png")
    assert page.input_value("#text") == "red"


def test_a_typing_error_is_mended_by_a_click(page: Any) -> None:
    ask(page, "red surfr")
    note = page.get_by_role("status")
    assert "unknown: surfr (did you mean surfer?)" in note.text_content()
    note.get_by_role("button", name="surfer").click()
    expect(note).not_to_contain_text("unknown")
    assert page.input_value("#text") == "red surfer"
    page.fill("#text", "quokka")
    page.press("#text", "Enter")
    expect(note).to_contain_text("knows no word")
    assert found(page) == []


def test_completion(page: Any) -> None:
    page.locator("#text").press_sequentially("red b")
    for place, words in enumerate(["red blue", "red bright"]):
        expect(page.locator("#words option").nth(place)).to_have_attribute("value", words)
    expect(page.locator("#words option")).to_have_count(2)


def test_click_for_the_picture_and_its_explanation(page: Any) -> None:
    ask(page, "red blue")
    page.locator("main button").first.click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading").text_content() == "purple.png"
    assert dialog.locator("dt").all_text_contents() == ["red", "blue"]
    assert dialog.locator("dd").all_text_contents() == ["+0.293", "+0.293"]
    assert dialog.locator("#picture").evaluate("image => image.decode().then(() => image.naturalWidth)") == 20
    widths = dialog.locator("dd svg").evaluate_all(
        "bars => bars.map(bar => bar.getBoundingClientRect().width)"
    )
    assert min(widths) > 10
    box = dialog.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]
    dialog.get_by_role("button", name="More like this").click()
    page.wait_for_selector("#asked:not([hidden])")
    assert found(page)[0] == "purple"
    assert page.locator("#asked span").text_content() == "purple.png"
    page.locator("#asked button").click()
    assert page.locator("#asked").is_hidden()


def test_drop_a_picture(page: Any) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 30), "yellow").save(buffer, "PNG")
    page.evaluate(
        """data => {
            const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "mine.png", { type: "image/png" }));
            const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
            for (const name of ["dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(name, options));
        }""",
        base64.b64encode(buffer.getvalue()).decode(),
    )
    page.wait_for_selector("main button")
    assert found(page)[0] == "yellow"
    assert page.locator("#asked span").text_content() == "mine.png"
    assert page.locator("#drop").is_hidden()
    assert ask(page, "blue")[0] != "yellow"  # the picture and the word
    page.set_input_files("#file", {"name": "letter.png", "mimeType": "image/png", "buffer": b"Dear all"})
    expect(page.get_by_role("status")).to_contain_text("not a JPEG")


def test_keyboard_only(page: Any) -> None:
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("red")
    page.keyboard.press("Enter")
    page.wait_for_selector("main button")
    names = found(page)
    first, second = page.locator("main button").nth(0), page.locator("main button").nth(1)
    for _ in range(6):
        if first.evaluate("button => button === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(first).to_be_focused()
    assert first.get_attribute("aria-label") == f"1: {names[0]}.png, score 1.00"
    assert first.evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    heading = page.get_by_role("dialog").get_by_role("heading")
    for key, name in (("ArrowRight", names[1]), ("ArrowRight", names[2]), ("ArrowLeft", names[1])):
        page.keyboard.press(key)
        expect(heading).to_have_text(f"{name}.png")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    expect(second).to_be_focused()


def test_marks_rank_anew_and_are_kept_as_a_name(page: Any) -> None:
    ask(page, "green")
    page.locator("main button", has_text="white.png").focus()
    with page.expect_response(lambda answer: "wanted=" in answer.url):
        page.keyboard.press("+")
    expect(page.locator("#marks span")).to_have_text("1 wanted, 0 not")
    expect(page.locator("main button.wanted .name")).to_have_text("white.png")
    page.locator("main button", has_text="purple.png").click()
    page.get_by_role("dialog").get_by_role("button", name="Not wanted").click()
    expect(page.locator("main button.unwanted .name")).to_have_text("purple.png")
    page.fill("#marks input", "Snow")
    page.press("#marks input", "Enter")
    expect(page.get_by_role("status")).to_contain_text("Snow is taught, from 1 pictures")
    page.get_by_role("button", name="Forget the marks").click()
    expect(page.locator("#marks")).to_be_hidden()
    assert ask(page, "snow")[0] == "white"
