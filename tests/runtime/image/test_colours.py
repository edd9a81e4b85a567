"""The same colours give the same pixels, in whatever profile they are written; without one, all stays as it is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from itl_infer.image import ImageRules, load_pixels, load_thumbnail
from tests.runtime.image.helpers import RULES, SIDE, distance, expected, scene
from tests.runtime.image.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    grey_profile,
    rgb_profile,
)

WIDE = {"Display P3": rgb_profile(DISPLAY_P3), "Adobe RGB": rgb_profile(ADOBE_RGB)}


def in_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """The same colours, as that profile writes them."""
    converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), opened(profile))
    assert converted is not None
    return converted


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """What LittleCMS makes of the full picture."""
    converted = ImageCms.profileToProfile(
        image, opened(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None
    return converted


def opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def muted() -> Image.Image:
    """Colours that every profile here has."""
    return Image.fromarray((64 + np.asarray(scene(240, 160)) // 2).astype(np.uint8))


@pytest.mark.parametrize("profile", WIDE)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif", ".heic"])
def test_the_same_colours_in_any_profile(tmp_path: Path, suffix: str, profile: str) -> None:
    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    path = tmp_path / f"wide{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {"quality": 95}
    in_profile(muted(), WIDE[profile]).save(path, icc_profile=WIDE[profile], **options)
    assert distance(load_pixels(path, RULES), expected(muted())) <= 12
    small = load_thumbnail(path, SIDE)
    assert small.mode == "RGB"
    large = np.asarray(muted().resize(small.size, Image.Resampling.LANCZOS))
    assert distance(np.asarray(small), large) <= 14


@pytest.mark.parametrize("resize", ["bilinear-antialias", "bicubic-antialias", "bilinear"])
def test_every_way_of_scaling_is_of_srgb(resize: str) -> None:
    image = in_profile(muted(), WIDE["Display P3"])
    image.info["icc_profile"] = WIDE["Display P3"]
    rules = ImageRules(SIDE, resize)
    assert distance(load_pixels(image, rules), load_pixels(muted(), rules)) <= 4


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparency_and_palettes_keep_their_profile(tmp_path: Path, mode: str) -> None:
    image = in_profile(muted(), WIDE["Adobe RGB"]).convert(mode)
    image.save(tmp_path / "wide.png", icc_profile=WIDE["Adobe RGB"])
    assert distance(load_pixels(tmp_path / "wide.png", RULES), expected(muted())) <= (
        40 if mode == "P" else 4
    )


def test_cmyk_with_and_without_a_profile(tmp_path: Path) -> None:
    inks = scene(240, 160).convert("CMYK")
    for suffix in (".jpg", ".tif"):
        inks.save(tmp_path / f"plain{suffix}")
        inks.save(tmp_path / f"press{suffix}", icc_profile=cmyk_profile(), quality=95)
        assert distance(load_pixels(tmp_path / f"plain{suffix}", RULES), expected(inks)) <= 12
        pressed = load_pixels(tmp_path / f"press{suffix}", RULES)
        assert distance(pressed, expected(in_srgb(inks, cmyk_profile()))) <= 16
        assert distance(pressed, expected(inks)) > 60


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_profiles(tmp_path: Path, mode: str) -> None:
    grey = scene(240, 160).convert("L")
    image = (
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    )
    image.save(tmp_path / "grey.png", icc_profile=grey_profile(1.0))
    pixels = load_pixels(tmp_path / "grey.png", RULES)
    assert distance(pixels, expected(in_srgb(grey, grey_profile(1.0)))) <= 4
    assert pixels.mean() > expected(grey).mean() + 20  # linear light is lighter than it looks


def test_lab(tmp_path: Path) -> None:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(muted(), to_lab)
    assert lab is not None
    lab.save(tmp_path / "lab.tif")
    assert distance(load_pixels(tmp_path / "lab.tif", RULES), expected(muted())) <= 6


def same(image: Image.Image, profile: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Pixels with a profile, and without."""
    tagged = image.copy()
    tagged.info["icc_profile"] = profile
    return load_pixels(tagged, RULES), load_pixels(image, RULES)


def test_srgb_changes_no_bit() -> None:
    """Whoever made the profile: embeddings of the pictures that most people have stay what they were."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(*same(scene(240, 160), made))


@pytest.mark.parametrize(
    "profile",
    [b"", b"no profile", rgb_profile(DISPLAY_P3)[:200], grey_profile(1.0), cmyk_profile(), bytes(2**23)],
)
def test_a_profile_that_is_damaged_or_of_other_colours_is_as_good_as_none(profile: bytes) -> None:
    np.testing.assert_array_equal(*same(scene(240, 160), profile))


@given(st.data())
def test_any_bytes_of_a_profile_leave_a_picture(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from([*WIDE.values(), grey_profile(2.2), cmyk_profile()])))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for mode in ("RGB", "L", "CMYK"):
        image = scene().convert(mode)
        image.info["icc_profile"] = bytes(damaged)
        assert load_pixels(image, RULES).shape == (SIDE, SIDE, 3)


def test_a_profile_much_like_srgb_but_for_its_gamma_is_applied() -> None:
    tagged, plain = same(scene(240, 160), rgb_profile(SRGB, 1.8))
    assert distance(tagged, plain) > 10
