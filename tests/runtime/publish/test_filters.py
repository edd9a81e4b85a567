"""The filters of a published page mean what `Where` means, and the page of `serve` has them too."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from itl_infer import Index, Publication, Where, embed_directory, load_bundle
from tests.chromium import found, visiting
from tests.runtime.publish.helpers import BROWSER, NODE
from tests.runtime.publish.sites import make_page_bundle, web_host

RANGES = [
    *("2019", "2019-07", "2019-7-3", "2019-07-03T15:30", "2019-07-03 15:30:10", "2019-12", "2019-12-31"),
    *(
        "2020-02-28",
        "2020-02-29",
        "2019-07..2019-08",
        "2019..",
        "..2019-07",
        "2019-07-03T15:30..",
        "0001",
        "9999",
    ),
    *("2019-02-29", "2019-13", "19", "..", "2020..2019", "2019-07-03T25:00", "yesterday", "0000", "2019..x"),
]
GLOBS = [
    *(
        "*",
        "IMG_*.jpg",
        "img_*.jpg",
        "?MG_1.jpg",
        "[IJ]MG*",
        "[!I]*",
        "*[0-9].png",
        "[z-a]*",
        "[",
        "[]x]*",
        "a+b(c).png",
    ),
    *("*[!]]*", "caf\u00e9*", "cafe\u0301*", "*.*", "**.jpg", "[a^]*", "\\*"),
]
NAMES = [
    "IMG_1.jpg",
    "IMG_12.jpg",
    "a+b(c).png",
    "cafe\u0301.png",
    "caf\u00e9 9.png",
    "]x.png",
    "^.png",
    "\\.jpg",
    "x",
]
MOMENTS = [
    datetime(2019, 7, 3, 15, 30) + timedelta(seconds=step)
    for step in (-(10**8), -(10**6), -60, -1, 0, 10, 59, 60, 10**6, 10**7, 10**8)
] + [
    datetime(2020, 2, 28, 23),
    datetime(2020, 2, 29, 1),
    datetime(2020, 3, 1),
    datetime(2019, 12, 31, 23, 59, 59),
]


def masks(pictures: dict[str, Any], asked: list[dict[str, str]], folder: Path) -> list[Any]:
    """What where.js says of each: a mask, null, or the message of an error."""
    if NODE is None:
        pytest.skip("no node on this machine")
    shutil.copy(BROWSER / "where.js", folder / "where.mjs")
    (folder / "ask.mjs").write_text(
        """import { maskOf } from "./where.mjs";
        const [pictures, asked] = JSON.parse(await new Response(process.stdin).text());
        const answer = (one) => {
          try { const mask = maskOf(pictures, one); return mask && [...mask]; } catch (error) { return error.message; }
        };
        console.log(JSON.stringify(asked.map(answer)));"""
    )
    run = subprocess.run(
        [NODE, str(folder / "ask.mjs")],
        input=json.dumps([pictures, asked]),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def test_dates_as_in_python(tmp_path: Path) -> None:
    pictures = {
        "ids": [str(one) for one in MOMENTS],
        "taken": [one.isoformat() for one in MOMENTS],
    }
    for text, said in zip(
        RANGES, masks(pictures, [{"taken": text} for text in RANGES], tmp_path), strict=True
    ):
        if isinstance(said, str):
            with pytest.raises(ValueError) as refused:
                Where(taken=text)
            assert said == str(refused.value)
        else:
            start, end = Where(taken=text).period()
            assert said == [
                int((start is None or start <= one) and (end is None or one < end)) for one in MOMENTS
            ], text


def test_globs_as_in_python(tmp_path: Path) -> None:
    pictures = {"ids": NAMES, "names": NAMES}
    for glob, said in zip(GLOBS, masks(pictures, [{"name": glob} for glob in GLOBS], tmp_path), strict=True):
        assert said == [int(Where(name=glob).fits_name(name)) for name in NAMES], glob


def test_folders_shapes_and_nothing(tmp_path: Path) -> None:
    pictures = {
        "ids": ["a", "b", "c", "d"],
        "folders": ["", "2019", "2019/july", "20190"],
        "folder": [0, 1, 2, 3],
        "shapes": ["l", "p", "s", ""],
    }
    asked = [{"under": "2019"}, {"under": "./2019/july/"}, {"under": "."}, {"orientation": "portrait"}, {}]
    asked.append({"under": "2019", "orientation": "square"})
    assert masks(pictures, asked, tmp_path) == [
        *([0, 1, 1, 0], [0, 0, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0], None),
        [0, 0, 1, 0],
    ]


@pytest.mark.browser
def test_on_the_pages(browser: Any, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("starlette")
    from tests.runtime.web.helpers import serving

    bundle = make_page_bundle(tmp_path / "tiny")
    for name, size, date in (
        ("july/red.jpg", (20, 10), "2019:07:03 10:00:00"),
        ("july/pink.jpg", (10, 20), "2019:07:04 10:00:00"),
        ("brown.jpg", (10, 20), "2021:01:01 10:00:00"),
    ):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = date
        Image.new("RGB", size, Path(name).stem).save(path, exif=exif)
    index = Index.open(tmp_path / "photos.itl", load_bundle(bundle))
    embed_directory(tmp_path / "pictures", index)
    Publication(index, tmp_path / "site").write()
    with (
        serving(index.path, bundle) as (server, _),
        web_host(tmp_path / "site") as host,
    ):
        for url, camera in ((server, True), (host, False)):
            with visiting(browser, url, at="/#q=red&taken=2019-07") as page:
                page.wait_for_selector("main button")
                assert found(page) == ["red.jpg", "pink.jpg"]
                page.locator("main button").first.click()
                playwright.expect(page.locator("#facts")).to_contain_text("2019-07-03 10:00")
                page.keyboard.press("Escape")
                filters = page.locator("#filters")
                playwright.expect(filters.locator("summary")).to_have_text("Filters (1)")
                assert filters.get_by_label("Camera").is_visible() == camera
                filters.get_by_label("Shape").select_option("portrait")
                playwright.expect(page.locator("main button")).to_have_count(1)
                assert page.url.endswith("#q=red&taken=2019-07&orientation=portrait")
                filters.get_by_label("Taken").fill("soon")
                page.keyboard.press("Enter")
                playwright.expect(page.get_by_role("status")).to_contain_text(
                    "taken is 'soon', expected 2019, 2019-07"
                )
                filters.get_by_role("button", name="Clear").click()
                playwright.expect(page.locator("main button")).to_have_count(3)
                filters.get_by_label("Folder").fill("july")
                page.keyboard.press("Enter")
                playwright.expect(page.locator("main button")).to_have_count(2)
                filters.get_by_label("File name").fill("b*")
                page.keyboard.press("Enter")
                playwright.expect(page.get_by_role("status")).to_have_text("No picture passes the filters.")
