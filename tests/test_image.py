"""Every kind of picture becomes the same pixels, and what is no picture becomes one clear reason."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from itl_infer.errors import ImageError
from itl_infer.image import IMAGE_SUFFIXES, ImageRules, load_pixels, resize_bilinear
from itl_infer.image import decode as image

SIDE = 8
RULES = ImageRules(SIDE)
TF_RULES = ImageRules(SIDE, resize="bilinear")
SEED = np.random.default_rng(7)


def scene(width: int = 24, height: int = 16) -> Image.Image:
    """A smooth picture that looks different from every side, so that lossy formats stay close."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], 2).astype(np.uint8)
    )


def expected(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def distance(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(int) - b).max())


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


def test_large_jpeg_is_decoded_at_a_fraction_for_antialiasing_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.jpg"
    scene(SIDE * 16, SIDE * 16 - 1).save(path, quality=95)
    decoded: list[tuple[int, int]] = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self.size) or load(self))
    assert distance(load_pixels(path, RULES), expected(scene(SIDE * 16, SIDE * 16 - 1))) <= 4
    assert set(decoded) == {(SIDE * 4, SIDE * 4)}  # 1/8 would leave fewer than twice the rows that are needed
    decoded.clear()
    load_pixels(path, TF_RULES)
    assert set(decoded) == {(SIDE * 16, SIDE * 16 - 1)}
    with Image.open(path) as mine:
        load_pixels(mine, RULES)
        assert mine.size == (SIDE * 16, SIDE * 16 - 1)  # a caller's picture stays what it was


def test_photographs_look_as_they_do_when_decoded_in_full(shared: Path) -> None:
    rules = ImageRules(64)
    photographs = sorted((shared / "photos").glob("*.jpg"))[::8]
    assert photographs
    for path in photographs:
        with Image.open(path) as image:
            full = ImageOps.exif_transpose(image).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
        difference = np.abs(load_pixels(path, rules).astype(int) - np.asarray(full))
        assert difference.mean() < 2, path.name


def slow_bilinear(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float64]:
    """tf.image.resize, one output value at a time: half-pixel centres, edges repeated."""
    height, width, channels = pixels.shape
    result = np.zeros((side, side, channels))
    for row in range(side):
        for column in range(side):
            y = (row + 0.5) * height / side - 0.5
            x = (column + 0.5) * width / side - 0.5
            for source_row in (int(np.floor(y)), int(np.floor(y)) + 1):
                for source_column in (int(np.floor(x)), int(np.floor(x)) + 1):
                    weight = (1 - abs(y - source_row)) * (1 - abs(x - source_column))
                    pixel = pixels[min(max(source_row, 0), height - 1), min(max(source_column, 0), width - 1)]
                    result[row, column] += weight * pixel
    return result


def test_bilinear_by_hand() -> None:
    row = np.array([[0, 100, 200, 40]], np.uint8)[..., None]  # to 2: centres at 0.5 and 2.5
    assert resize_bilinear(row, 2)[:, :, 0].tolist() == [[50, 120], [50, 120]]
    pair = np.array([[0, 100]], np.uint8)[..., None]  # to 4: centres at -0.25, 0.25, 0.75, 1.25
    assert resize_bilinear(pair, 4)[0, :, 0].tolist() == [0, 25, 75, 100]
    edge = np.zeros((9, 9, 1), np.uint8)
    edge[:, 4] = 255  # to 3: centres at 1, 4 and 7. No antialiasing: one thin line is taken whole
    assert resize_bilinear(edge, 3)[0, :, 0].tolist() == [0, 255, 0]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_bilinear_is_the_slow_definition(height: int, width: int, side: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.abs(resize_bilinear(pixels, side) - slow_bilinear(pixels, side)).max() <= 0.5 + 1e-3


def test_both_methods_are_chosen_by_the_rules() -> None:
    image = Image.fromarray(SEED.integers(0, 256, (37, 53, 3), dtype=np.uint8))
    assert np.array_equal(load_pixels(image, TF_RULES), resize_bilinear(np.asarray(image), SIDE))
    assert np.array_equal(load_pixels(image, RULES), expected(image))


def test_rules_are_checked() -> None:
    with pytest.raises(ValueError, match="image side is 0"):
        ImageRules(0)
    with pytest.raises(ValueError, match="image side is True"):
        ImageRules(True)
    with pytest.raises(ValueError, match="unknown resize method 'area'"):
        ImageRules(8, resize="area")
    for scaling in (
        {"mean": (1, 2)},
        {"std": (1, 2, 0)},
        {"mean": (1, 2, float("nan"))},
        {"std": ("1", 2, 3)},
    ):
        with pytest.raises(ValueError, match=r"expected three numbers each, those of std above 0"):
            ImageRules(8, **scaling)


def test_bicubic_is_pillows_and_a_large_jpeg_comes_close_to_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize(
        (1200, 900), Image.Resampling.BICUBIC
    )
    rules = ImageRules(48, resize="bicubic-antialias")
    expected = np.asarray(smooth.resize((48, 48), Image.Resampling.BICUBIC))
    assert np.array_equal(load_pixels(smooth, rules), expected)
    smooth.save(tmp_path / "large.jpg", quality=95)
    assert np.abs(load_pixels(tmp_path / "large.jpg", rules).astype(int) - expected).max() <= 16


def reason(path: Path | str, *, max_megapixels: float = 100) -> str:
    with pytest.raises(ImageError) as caught:
        load_pixels(path, RULES, max_megapixels=max_megapixels)
    assert caught.value.name == os.fspath(path)
    assert "\n" not in caught.value.reason
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason


def test_what_is_no_picture_gives_a_reason(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("I am a letter, not a picture.\n" * 10)
    (tmp_path / "zero.jpg").write_bytes(b"")
    (tmp_path / "postscript.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert reason(tmp_path / "text.jpg") == "not a JPEG, PNG, WebP, GIF, TIFF or BMP picture"
    assert reason(tmp_path / "postscript.png") == "not a JPEG, PNG, WebP, GIF, TIFF or BMP picture"
    assert reason(tmp_path / "zero.jpg") == "empty file (0 bytes)"
    assert reason(tmp_path / "none.jpg") == "cannot be read: No such file or directory"
    assert reason("nul\0character.jpg").startswith("cannot be read: ")
    assert reason(tmp_path) == "a directory, not a picture"


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    scene().save(path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything

        def refuse(self: Path, _mode: str) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", refuse)
    assert reason(path) == "cannot be read: Permission denied"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason(tmp_path / "pipe.jpg") == "not a regular file"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, share: float
) -> None:
    content = io.BytesIO()
    noise = Image.fromarray(SEED.integers(0, 256, (60, 60, 3), dtype=np.uint8))
    options = {"compression": "tiff_lzw"} if suffix == ".tif" else {}
    noise.save(content, Image.registered_extensions()[suffix], **options)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content.getvalue()[: int(len(content.getvalue()) * share)])
    assert reason(path).startswith(("truncated or damaged: ", "not a JPEG, PNG"))
    assert capfd.readouterr() == ("", "")


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]), st.data())
def test_damaged_bytes_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    content = io.BytesIO()
    scene().save(content, kind)
    damaged = bytearray(content.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "picture"
    path.write_bytes(damaged)
    with contextlib.suppress(ImageError):
        assert load_pixels(path, RULES, max_megapixels=1).shape == (SIDE, SIDE, 3)


def test_megapixels_are_checked_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    scene(300, 200).save(path)
    assert load_pixels(path, RULES, max_megapixels=0.06).shape == (SIDE, SIDE, 3)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail(f"decoded {self}"))
    text = "300 x 200 is 0.06 megapixels, more than the limit of 0.05: raise --max-megapixels"
    assert reason(path, max_megapixels=0.05).startswith(text)
    with pytest.raises(ImageError, match="more than the limit"):
        load_pixels(scene(300, 200), RULES, max_megapixels=0.05)


def test_pillows_own_limit_stays_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    scene(300, 200).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)  # Pillow warns above this, and refuses twice this
    assert load_pixels(path, RULES).shape == (SIDE, SIDE, 3)


def test_pillows_own_limit_gives_way_to_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    for suffix in ("png", "webp", "gif", "tif", "bmp", "jpg"):
        path = tmp_path / f"large.{suffix}"
        scene(300, 200).save(path)
        assert load_pixels(path, RULES).shape == (SIDE, SIDE, 3)
        assert reason(path, max_megapixels=0.05).startswith(
            "300 x 200 is 0.06 megapixels, more than the limit"
        )
        assert Image.MAX_IMAGE_PIXELS == 5_000
    with ThreadPoolExecutor(8) as pool:  # Pillow asks about a TIFF when it is decoded too
        tiff = tmp_path / "large.tif"
        assert len(set(pool.map(lambda _: load_pixels(tiff, RULES).tobytes(), range(200)))) == 1
    assert Image.MAX_IMAGE_PIXELS == 5_000


def test_warnings_are_silenced_for_pillow_alone_and_only_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "warns.png"
    scene(300, 200).save(path)
    filters = list(warnings.filters)
    threads = [threading.Thread(target=lambda: load_pixels(path, RULES)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == filters


def test_threads_agree(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    scene(200, 150).save(path)
    results: list[npt.NDArray[np.uint8]] = []
    threads = [threading.Thread(target=lambda: results.append(load_pixels(path, RULES))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(np.array_equal(result, results[0]) for result in results)


def test_large_pictures_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads read: memory holds one, not one for each thread."""
    scene(200, 150).save(tmp_path / "large.png")
    scene().save(tmp_path / "small.png")
    monkeypatch.setattr(image, "_LARGE_MEGAPIXELS", 0.01)
    count = threading.Lock()
    running, most = [0], [0]

    def load(_: ImageFile.ImageFile) -> None:
        with count:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with count:
            running[0] -= 1
        raise OSError("seen")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    for name, at_once in (("large.png", {1}), ("small.png", {2, 3, 4})):
        most[0] = 0
        with ThreadPoolExecutor(4) as pool:
            for failed in [pool.submit(load_pixels, tmp_path / name, RULES) for _ in range(8)]:
                assert isinstance(failed.exception(), ImageError)
        assert most[0] in at_once
