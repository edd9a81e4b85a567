"""Contact sheets, as files that a person opens: what stands on them, and what becomes of bad pictures."""

from __future__ import annotations

import base64
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itl_infer import (
    Index,
    Query,
    QueryError,
    Searcher,
    SheetError,
    embed_directory,
    load_bundle,
    write_sheet,
)
from itl_infer.show.wording import shorten_middle
from tests.tiny_bundle import save_colours

RED = (212, 0, 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    save_colours(tmp_path / "pictures", ["red", "orange", "green", "blue", "white", "purple", "teal"])
    return tmp_path / "pictures"


@pytest.fixture
def index(pictures: Path, tmp_path: Path, tiny_bundle: Path) -> Index:
    index = Index.open(tmp_path / "photos.itl", load_bundle(tiny_bundle))
    embed_directory(pictures, index)
    return index


class Page(HTMLParser):
    """What a browser would make of a page: its tags, checked to be closed, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    def images(self) -> list[Image.Image]:
        sources = [attributes["src"] for tag, attributes in self.tags if tag == "img"]
        return [Image.open(io.BytesIO(base64.b64decode(str(source).partition(",")[2]))) for source in sources]


def framed(sheet: Image.Image) -> np.ndarray:
    """(n, 2) places of the red of a frame."""
    return np.argwhere((np.asarray(sheet) == RED).all(axis=2))


def test_a_sheet_shows_the_best_k(index: Index, tmp_path: Path) -> None:
    for name, form in (("a.png", "PNG"), ("b.jpg", "JPEG"), ("c.JPEG", "JPEG")):
        write_sheet([Searcher(index, k=6).answer("red")], tmp_path / name)
        with Image.open(tmp_path / name) as sheet:
            assert sheet.format == form
            colours = {colour for _, colour in sheet.convert("RGB").getcolors(2**24)}
            # Pillow's names of the best six of seven; JPEG is off by a little.
            for colour in ((255, 0, 0), (255, 165, 0), (255, 255, 255), (128, 0, 128)):
                assert min(np.abs(np.subtract(colour, other)).max() for other in colours) <= 3


def test_rows_are_as_high_as_their_pictures(index: Index, pictures: Path, tmp_path: Path) -> None:
    def height(k: int) -> int:
        write_sheet([Searcher(index, k=k).answer("red")], tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as sheet:
            return sheet.height

    assert height(7) == height(8)  # three columns, three rows
    assert height(4) < height(7)
    before = height(4)
    Image.new("RGB", (20, 400), "red").save(pictures / "red.png")  # best of all, and tall
    assert height(4) - before == 224 - 10


def test_the_true_picture_is_framed(index: Index, tmp_path: Path) -> None:
    def sheet(truth: str | None, k: int) -> Image.Image:
        write_sheet([Searcher(index, k, truth).answer("red")], tmp_path / "a.png")
        return Image.open(tmp_path / "a.png").convert("RGB")

    assert len(framed(sheet(None, 4))) == 0
    on_sheet = sheet("purple.png", 4)
    assert len(framed(on_sheet)) > 100
    beside = sheet("teal.png", 4)
    assert beside.width > on_sheet.width
    assert framed(beside)[:, 1].min() > on_sheet.width - 20


def test_place_of_a_picture(index: Index, pictures: Path) -> None:
    order = [Path(found.path).name for found in Searcher(index, k=7).answer("red").results]
    for position, name in enumerate(order, start=1):
        for truth in (name, str(pictures / name), f"pictures/{name}"):
            place = Searcher(index, 1, truth).answer("red").truth
            assert place is not None
            assert (place.position, place.pictures, place.path) == (position, 7, str(pictures / name))
            assert str(place).startswith(f"position {position} of 7, score ")
    with pytest.raises(QueryError, match=r"^nose.png: no such picture in the index$"):
        Searcher(index, truth="nose.png").answer("red")


def test_a_name_that_two_pictures_have(pictures: Path, index: Index) -> None:
    save_colours(pictures / "more", ["red"])
    embed_directory(pictures, index)
    with pytest.raises(QueryError, match="2 pictures in the index are called so"):
        Searcher(index, truth="red.png").answer("red")
    place = Searcher(index, truth="more/red.png").answer("red").truth
    assert place is not None
    assert place.path == str(pictures / "more" / "red.png")


def test_a_page_is_whole_in_itself(index: Index, tmp_path: Path) -> None:
    searcher = Searcher(index, k=3, truth="teal.png")
    write_sheet([searcher.answer(text) for text in ("red", "blue wave")], tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [image.format for image in page.images()] == [
        "JPEG"
    ] * 7  # three each, and the true one beside "red"
    assert "script" not in text
    outside = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href") and not str(value).startswith(("data:image/jpeg;base64,", "#query-"))
    ]
    assert outside == []
    assert {"red", "blue wave"} <= set(page.words)
    assert re.search(r">3 of 7 pictures  ·  teal\.png: position \d of 7, score 0\.\d\d<", text)
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text


def test_texts_are_no_markup(pictures: Path, index: Index, tmp_path: Path) -> None:
    name = '<img src=x onerror="alert(1)">&amp;.png' if os.name == "posix" else "a&amp;.png"
    (pictures / "red.png").rename(pictures / name)
    embed_directory(pictures, index)
    write_sheet(
        [Searcher(index, k=1).answer("red </h2><script>alert(1)</script> $title")], tmp_path / "a.html"
    )
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "red </h2><script>alert(1)</script> $title" in page.words
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == [name]


def test_a_picture_that_cannot_be_read_is_an_empty_frame(
    pictures: Path, index: Index, tmp_path: Path
) -> None:
    (pictures / "red.png").write_bytes(b"garbage")
    (pictures / "purple.png").unlink()
    answer = Searcher(index, k=3).answer("red")
    for name in ("a.png", "a.html"):
        write_sheet([answer], tmp_path / name)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert len(Page(text).images()) == 1
    assert "not a JPEG, PNG, WebP, GIF, TIFF, BMP, JPEG 2000, AVIF, HEIC, JPEG XL or RAW picture" in text
    assert "cannot be read: No such file or directory" in text


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_names_that_are_not_text(pictures: Path, index: Index, tmp_path: Path) -> None:
    (pictures / "red.png").rename(pictures / os.fsdecode(b"caf\xe9\n\x1b.png"))
    embed_directory(pictures, index)
    for name in ("a.png", "a.html"):
        write_sheet([Searcher(index, k=1).answer("red")], tmp_path / name)
    assert "caf���.png" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_sheets_that_cannot_be_made(index: Index, tmp_path: Path) -> None:
    answer = Searcher(index).answer("red")
    with pytest.raises(SheetError, match=r"a sheet is a \.png, \.jpg or \.html file"):
        write_sheet([answer], tmp_path / "a.gif")
    with pytest.raises(SheetError, match="room for one query, not for 2"):
        write_sheet([answer, answer], tmp_path / "a.png")
    with pytest.raises(SheetError, match="cannot be written: No such file"):
        write_sheet([answer], tmp_path / "none" / "a.png")


@pytest.mark.parametrize("length", range(1, 12))
def test_long_names_lose_their_middle(length: int) -> None:
    short = shorten_middle("0123456789", length)
    assert len(short) <= length
    if length >= 10:
        assert short == "0123456789"
    else:
        head, tail = short.split("…")
        assert "0123456789".startswith(head)
        assert "0123456789".endswith(tail)
        assert 0 <= len(tail) - len(head) <= 1


def test_a_wide_title_fits(index: Index, tmp_path: Path) -> None:
    write_sheet([Searcher(index, k=1).answer(Query("red " * 500))], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width < 600
        title = np.asarray(sheet.convert("L"))[:70]
    assert (title[:, -10:] == 255).all()
    assert (title[:, -60:] < 255).any()
    assert re.fullmatch(r"(red )+red", str(Query("red red")))
