"""Files that are cut at their end: what is there is read, if it is at least half, and said to be no more."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from itl_infer.errors import ImageError
from itl_infer.image import ImageRules, load_pixels, load_thumbnail
from tests.runtime.image.helpers import SEED, scene
from tests.runtime.image.test_formats import encoded

RULES = ImageRules(64, "bilinear-antialias")
GREY = np.array([128, 128, 128])
ROWS = (".jpg", ".png", ".gif", ".tif", ".bmp", ".webp", ".avif", ".heic")


def photograph(width: int = 640, height: int = 480) -> Image.Image:
    """With something in each row: noise on a smooth scene."""
    noise = SEED.integers(-40, 41, (height, width, 1))
    return Image.fromarray(
        np.clip(np.asarray(scene(width, height)).astype(int) + noise, 0, 255).astype(np.uint8)
    )


def read(content: bytes, rules: ImageRules = RULES) -> tuple[npt.NDArray[np.uint8], list[str]]:
    notes: list[str] = []
    return load_pixels(io.BytesIO(content), rules, notes=notes), notes


def seen(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which rows are not grey (side,)."""
    return np.asarray(np.abs(pixels.astype(int) - GREY).max((1, 2)) > 12)


@pytest.mark.parametrize("share", [0.999, 0.8])
@pytest.mark.parametrize("suffix", ROWS)
def test_rows_that_are_there_are_in_their_place(suffix: str, share: float) -> None:
    options = {"interlace": 0} if suffix == ".gif" else {}
    content = encoded(suffix, photograph(), **options)
    whole, no_notes = read(content)
    pixels, [note] = read(content[: int(len(content) * share)])
    assert no_notes == []
    assert note.startswith("cut at the end: ")
    percent = int(note.split()[4])
    assert 100 * share - 30 <= percent <= 100 * share + 4  # AVIF filters what it has across what it has not
    kept = (
        slice(len(whole) * (100 - percent) // 100 + 2, None)
        if suffix == ".bmp"
        else slice(len(whole) * percent // 100 - 2)
    )
    assert np.abs(pixels[kept].astype(int) - whole[kept]).max() <= 2  # BMP begins with the lowest row
    assert not seen(pixels)[[0 if suffix == ".bmp" else -1]].any() or percent > 95


@pytest.mark.parametrize("suffix", ROWS)
def test_less_than_half_is_a_damaged_file(suffix: str) -> None:
    content = encoded(suffix, photograph())
    with pytest.raises(ImageError, match="truncated or damaged: "):
        read(content[: int(len(content) * 0.3)])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", None])
def test_tiffs_of_which_strips_are_missing(compression: str | None) -> None:
    """Whose directory comes first, as cameras and scanners write them; libtiff does not say that a file is cut."""
    content = io.BytesIO()
    photograph().save(content, "TIFF", compression=compression, strip_size=2**14)
    reordered = with_directory_first(content.getvalue())
    assert np.array_equal(read(reordered)[0], read(content.getvalue())[0])
    pixels, [note] = read(reordered[: int(len(reordered) * 0.8)])
    assert 60 <= int(note.split()[4]) <= 84
    assert not seen(pixels)[-1]


def with_directory_first(tiff: bytes) -> bytes:
    """A little-endian TIFF as its directory, with all that this points to, and then its strips."""
    start = int.from_bytes(tiff[4:8], "little")
    strips_end = max(start, 8)
    if start == 8:
        return tiff
    head = tiff[strips_end:]
    moved = len(head)
    out = bytearray(tiff[:4] + (8).to_bytes(4, "little") + head + tiff[8:strips_end])
    entries = int.from_bytes(out[8:10], "little")
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8, 12: 8}
    for number in range(entries):
        at = 10 + 12 * number
        tag, kind, count, value = (
            int.from_bytes(out[at + first : at + last], "little")
            for first, last in ((0, 2), (2, 4), (4, 8), (8, 12))
        )
        outside = sizes[kind] * count > 4
        if outside:
            value = value - strips_end + 8 if value >= strips_end else value + moved
            out[at + 8 : at + 12] = value.to_bytes(4, "little")
        if tag == 273:
            width = sizes[kind]
            for strip in range(count):
                place = (value if outside else at + 8) + width * strip
                offset = int.from_bytes(out[place : place + width], "little")
                out[place : place + width] = (offset + moved).to_bytes(width, "little")
    return bytes(out)


@pytest.mark.parametrize("share", [0.999, 0.8, 0.6])
def test_a_progressive_jpeg_is_there_in_coarser_detail(share: float) -> None:
    content = encoded(".jpg", photograph(), progressive=True)
    pixels, [note] = read(content[: int(len(content) * share)])
    assert note == "cut at the end: its finest details are missing"
    assert np.abs(pixels.astype(int) - read(content)[0]).mean() <= 4
    with pytest.raises(ImageError, match=r"; \d+ % of its details are there, half is needed"):
        read(content[: int(len(content) * 0.15)])


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_interlaced_pictures_are_their_even_rows(suffix: str) -> None:
    """All rows of the first passes are there, up and down the picture."""
    if suffix == ".png":
        content = interlaced_png(photograph())
    else:
        content = encoded(suffix, photograph(), interlace=1)
    pixels, [note] = read(content[: int(len(content) * 0.7)])
    assert note.startswith("cut at the end: ")
    assert seen(pixels).mean() > 0.9
    assert np.abs(pixels.astype(int) - read(content)[0]).mean() <= 20


def interlaced_png(image: Image.Image) -> bytes:
    """Pillow writes none: the seven passes of Adam7 (PNG, section 8.2), each row without a filter."""
    import struct
    import zlib

    pixels = np.asarray(image.convert("RGB"))
    steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(
        b"\0" + row.tobytes() for top, left, down, right in steps for row in pixels[top::down, left::right]
    )

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packed = zlib.compress(rows, 1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 1))
    body = b"".join(chunk(b"IDAT", packed[start : start + 8192]) for start in range(0, len(packed), 8192))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("suffix", [".jpg", ".heic", ".avif", ".tif"])
def test_what_is_missing_is_turned_with_the_picture(suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(suffix, photograph(), exif=exif.tobytes())
    pixels, _ = read(content[: int(len(content) * 0.8)])
    missing = {3: pixels[0], 6: pixels[:, 0], 8: pixels[:, -1]}[orientation]
    assert np.abs(missing.astype(int) - GREY).max() <= 12


def test_black_rows_are_not_missing_rows() -> None:
    night = photograph()
    night.paste((0, 0, 0), (0, 200, 640, 480))
    content = encoded(".png", night)
    _, [note] = read(content[:-30])
    assert int(note.split()[4]) >= 95


def test_damage_in_the_middle_stays_damage() -> None:
    content = bytearray(encoded(".png", photograph()))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="truncated or damaged"):
        read(bytes(content))


def test_sheets_and_the_page_show_what_is_there(tmp_path: Path) -> None:
    content = encoded(".jpg", photograph())
    (tmp_path / "a.jpg").write_bytes(content[: int(len(content) * 0.9)])
    assert load_thumbnail(tmp_path / "a.jpg", 100).size == (100, 75)


@given(st.sampled_from([*ROWS, "progressive"]), st.floats(0, 1))
def test_wherever_a_file_is_cut(kind: str, share: float) -> None:
    content = (
        encoded(".jpg", scene(200, 150), progressive=True)
        if kind == "progressive"
        else encoded(kind, scene(200, 150))
    )
    try:
        pixels, _ = read(content[: int(len(content) * share)])
    except ImageError:
        return
    assert pixels.shape == (64, 64, 3)
    if share == 1:
        assert (
            np.abs(
                pixels.astype(int) - np.asarray(scene(200, 150).resize((64, 64), Image.Resampling.BILINEAR))
            ).max()
            <= 40
        )
