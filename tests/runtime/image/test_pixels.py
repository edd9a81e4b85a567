"""Every kind of picture becomes the same pixels."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from itl_infer.errors import ImageError
from itl_infer.image import IMAGE_SUFFIXES, ImageRules, load_pixels
from itl_infer.image import decode as image
from tests.runtime.image.helpers import RULES, SEED, SIDE, distance, expected, scene


@pytest.mark.parametrize(
    ("suffix", "tolerance"),
    [(".jpg", 12), (".png", 0), (".webp", 12), (".gif", 40), (".tif", 0), (".tiff", 0), (".bmp", 0)],
)
def test_formats(tmp_path: Path, suffix: str, tolerance: int) -> None:
    path = tmp_path / f"picture{suffix}"
    scene().save(path)
    pixels = load_pixels(path, RULES)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    assert distance(pixels, expected(scene())) <= tolerance
    assert suffix in IMAGE_SUFFIXES


def test_paths_pillow_images_and_arrays_agree(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    scene().save(path)
    pixels = load_pixels(str(path), RULES)
    assert np.array_equal(load_pixels(path, RULES), pixels)
    assert np.array_equal(load_pixels(scene(), RULES), pixels)
    assert np.array_equal(load_pixels(np.asarray(scene()), RULES), pixels)
    with Image.open(path) as lazily_opened:
        assert np.array_equal(load_pixels(lazily_opened, RULES), pixels)


def test_array_layouts() -> None:
    grey = np.asarray(scene().convert("L"))
    assert np.array_equal(load_pixels(grey, RULES), load_pixels(np.dstack([grey] * 3), RULES))
    see_through = np.dstack([np.asarray(scene()), np.zeros((16, 24), np.uint8)])
    assert (load_pixels(see_through, RULES) == 255).all()
    assert np.array_equal(
        load_pixels(np.asarray(scene())[:, ::-1], RULES), load_pixels(scene(), RULES)[:, ::-1]
    )


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(array: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError, match=r"array: .*\("):
        load_pixels(array, RULES)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_rotation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    upright = scene(240, 160)  # large enough for a JPEG to be decoded at a fraction
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    (upright if undo is None else upright.transpose(undo)).save(path, exif=exif)
    assert distance(load_pixels(path, RULES), expected(upright)) <= (0 if suffix in (".png", ".tif") else 12)


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    scene().save(path, quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert distance(load_pixels(path, RULES), expected(scene())) <= 12


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "PA", "RGBa"])
def test_modes(mode: str) -> None:
    image = scene().convert("RGBA" if mode == "RGBa" else "RGB").convert(mode)
    reference = image if mode in ("1", "L", "P", "CMYK", "YCbCr", "HSV") else scene()
    pixels = load_pixels(image, RULES)
    if mode == "LA":
        reference = scene().convert("L")
    assert distance(pixels, expected(reference)) <= (40 if mode == "PA" else 1)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"print{suffix}"
    scene().convert("CMYK").save(path)
    assert distance(load_pixels(path, RULES), expected(scene())) <= 12


def test_transparency_is_shown_over_white(tmp_path: Path) -> None:
    red = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    red.paste((255, 0, 0, 255), (0, 0, 8, 16))
    red.save(tmp_path / "alpha.png")
    red.save(tmp_path / "alpha.webp", lossless=True)
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(0, (0, 0, 8, 16))
    palette.save(tmp_path / "palette.png", transparency=1)
    palette.save(tmp_path / "palette.gif", transparency=1)
    rgb = Image.new("RGB", (16, 16), (0, 0, 255))
    rgb.paste((255, 0, 0), (0, 0, 8, 16))
    rgb.save(tmp_path / "key.png", transparency=(0, 0, 255))
    for path in sorted(tmp_path.iterdir()):
        pixels = load_pixels(path, RULES)
        assert (pixels[:, 0] == [255, 0, 0]).all(), path.name
        assert (pixels[:, -1] == 255).all(), path.name
    half = load_pixels(np.full((4, 4, 4), [0, 0, 0, 128], np.uint8), RULES)
    assert (half == 127).all()


def test_transparency_of_a_picture_that_is_taken_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = SEED.integers(0, 256, (50, 30, 4), dtype=np.uint8)
    rules = ImageRules(40)
    whole = load_pixels(pixels, rules)
    monkeypatch.setattr(image, "_STRIP_PIXELS", 7 * 30)  # seven rows, and a last strip of one
    np.testing.assert_array_equal(load_pixels(pixels, rules), whole)


def png16(values: npt.NDArray[np.uint16]) -> bytes:
    """A 16-bit grey PNG, written out chunk by chunk."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, SIDE).astype(np.uint16)
    grey = np.repeat(levels[None], SIDE, axis=0)
    (tmp_path / "grey.png").write_bytes(png16(grey))
    Image.fromarray(grey).save(tmp_path / "grey.tif")
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "grey32.tif")
    Image.fromarray((grey / 65535).astype(np.float32)).save(tmp_path / "fractions.tif")
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "float.tif")
    for path in sorted(tmp_path.iterdir()):
        pixels = load_pixels(path, RULES)
        assert np.array_equal(pixels[0, :, 0], np.rint(levels / 257)), path.name
        assert (pixels == pixels[:1, :, :1]).all(), path.name


def test_strange_numbers_in_float_pictures() -> None:
    strange = Image.fromarray(np.array([[np.nan, np.inf], [-np.inf, -1.0]], np.float32))
    assert load_pixels(strange, RULES).shape == (SIDE, SIDE, 3)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    for suffix in (".gif", ".png", ".webp", ".tif"):
        path = tmp_path / f"film{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert distance(load_pixels(path, RULES), expected(frames[0])) <= 4, suffix
