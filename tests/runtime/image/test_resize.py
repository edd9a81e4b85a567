"""How pictures are made smaller: by the rules, and large JPEGs from a fraction."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps

from itl_infer.image import ImageRules, load_pixels, resize_bilinear
from tests.runtime.image.helpers import RULES, SEED, SIDE, distance, expected, scene

TF_RULES = ImageRules(SIDE, resize="bilinear")


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
            full = ImageOps.exif_transpose(image).convert("RGB")
            if profile := image.info.get("icc_profile"):
                given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
                full = ImageCms.profileToProfile(full, given, ImageCms.createProfile("sRGB"))
            full = full.resize((64, 64), Image.Resampling.BILINEAR)
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
