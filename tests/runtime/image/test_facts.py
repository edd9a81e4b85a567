"""What files say of their pictures: in every container that keeps EXIF, and whatever stands in it."""

from __future__ import annotations

import io
import struct
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itl_infer.image import Facts, ImageRules, load_picture
from itl_infer.image.facts import _camera
from itl_infer.image.phash import perceptual_hash
from tests.runtime.image.helpers import scene
from tests.runtime.image.raws import dng

TAKEN = datetime(2019, 7, 3, 14, 5, 6)


def exif(orientation: int = 1, **texts: str) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010F], made[0x0110] = texts.get("make", "Nobody Inc."), texts.get("model", "Box 3")
    inner = made.get_ifd(0x8769)
    inner[0x9003] = texts.get("date", "2019:07:03 14:05:06")
    inner[0x9291], inner[0x9011] = "789", "+02:00"  # sub-seconds and zone
    return made


def gps() -> dict[int, object]:
    return {1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 3.0)}


def facts_of(content: bytes, name: str = "picture", side: int = 8) -> Facts:
    return load_picture(io.BytesIO(content), ImageRules(side), name=name).facts


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO", "HEIF", "JXL"])
def test_every_container_that_keeps_exif(form: str) -> None:
    if form in ("HEIF", "JXL"):
        plugin = pytest.importorskip({"HEIF": "pillow_heif", "JXL": "pillow_jxl"}[form])
        if form == "HEIF":
            plugin.register_heif_opener()
    made = exif()
    made.get_ifd(0x8825).update(gps())
    facts = facts_of(saved(scene(640, 480), form, exif=made.tobytes()))
    assert (facts.width, facts.height) == (640, 480)
    assert (facts.taken, facts.camera, facts.has_gps) == (TAKEN, "Nobody Box 3", True)
    assert not facts.is_file_date


def test_a_jpeg_2000_has_it_in_a_box() -> None:
    content = saved(scene(64, 48), "JPEG2000")
    assert facts_of(content).camera == ""
    notes = exif().tobytes().removeprefix(b"Exif\0\0")
    box = struct.pack(">I4s16s", 24 + len(notes), b"uuid", b"JpgTiffExif->JP2") + notes
    at = content.index(b"jp2c") - 4
    for file in (content[:at] + box + content[at:], content + box):
        facts = facts_of(file)
        assert (facts.width, facts.height, facts.taken, facts.camera) == (64, 48, TAKEN, "Nobody Box 3")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_is_that_which_is_seen(form: str, orientation: int) -> None:
    facts = facts_of(saved(scene(600, 400), form, exif=exif(orientation)))
    assert (facts.width, facts.height) == ((400, 600) if orientation > 4 else (600, 400))
    assert facts.camera == "Nobody Box 3"


def test_a_raw_says_what_the_camera_wrote_and_not_its_preview() -> None:
    pytest.importorskip("rawpy")
    picture = scene(640, 480)
    facts = facts_of(dng(picture, preview=picture.resize((320, 240)), exif=b""), "a.dng")
    assert (facts.width, facts.height, facts.camera) == (640, 480, "Nobody Camera of paper")
    assert facts.taken is None
    turned = facts_of(dng(picture, preview=picture.resize((320, 240)), orientation=6), "a.dng")
    assert (turned.width, turned.height) == (480, 640)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("2019:07:03 14:05:06", TAKEN),
        ("2019-07-03T14:05:06.789+02:00", TAKEN),
        ("2019/07/03 14:05", datetime(2019, 7, 3, 14, 5)),
        ("2019:07:03", datetime(2019, 7, 3)),
        ("2019:07:03 24:00:61", datetime(2019, 7, 3)),
        ("2019:07:03 14:05:06\0garbage", TAKEN),
        ("0000:00:00 00:00:00", None),
        ("    :  :     :  :  ", None),
        ("2019:02:30 10:00:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates_as_cameras_write_them(text: str, taken: datetime | None) -> None:
    assert facts_of(saved(scene(), "JPEG", exif=exif(date=text))).taken == taken


def test_the_first_date_that_means_something() -> None:
    made = exif(date="0000:00:00 00:00:00")
    made[0x0132] = "2020:01:02 03:04:05"
    assert facts_of(saved(scene(), "JPEG", exif=made)).taken == datetime(2020, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("EASTMAN KODAK COMPANY", "KODAK DC240", "KODAK DC240"),
        ("OLYMPUS IMAGING CORP.", "E-M5", "OLYMPUS E-M5"),
        ("Konica Minolta Camera, Inc.", "DiMAGE Z5", "Konica Minolta DiMAGE Z5"),
        ("LEICA CAMERA AG", "LEICA Q2", "LEICA Q2"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("Apple", "", "Apple"),
        ("", "SM-G973F", "SM-G973F"),
        ("", "", ""),
    ],
)
def test_cameras_as_people_call_them(make: str, model: str, camera: str) -> None:
    assert _camera(make, model) == camera


def test_no_place_where_only_the_block_for_one_is_there() -> None:
    made = exif()
    made.get_ifd(0x8825).update({0: b"\2\3\0\0"})
    assert not facts_of(saved(scene(), "JPEG", exif=made)).has_gps


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]), st.booleans())
def test_hostile_exif_costs_no_picture(noise: bytes, head: bytes, cut: bool) -> None:
    content = exif().tobytes()
    notes = content[: len(noise)] if cut else b"Exif\0\0" + head + noise
    facts = facts_of(saved(scene(64, 48), "JPEG", exif=notes))
    assert {facts.width, facts.height} == {64, 48}
    assert all(char.isprintable() for char in facts.camera)


def test_flipped_bits_cost_no_picture() -> None:
    whole = exif().tobytes()
    for at in range(6, len(whole)):
        notes = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        assert facts_of(saved(scene(16, 12), "JPEG", exif=notes)).width in (12, 16)


def test_the_hash_is_of_what_is_seen() -> None:
    colours = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
    picture = Image.fromarray(colours).resize((512, 384), Image.Resampling.BICUBIC)
    hashes = [
        facts_of(content).phash
        for content in (
            saved(picture, "PNG"),
            saved(picture, "JPEG", quality=40),
            saved(picture.resize((256, 192)), "JPEG"),
            saved(picture.convert("L"), "PNG"),
            saved(picture.rotate(90, expand=True), "JPEG", exif=exif(6)),
        )
    ]
    assert all((hashes[0] ^ other).bit_count() <= 6 for other in hashes)
    mirrored = facts_of(saved(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"), side=256).phash
    assert (hashes[0] ^ mirrored).bit_count() > 16


def test_a_hash_is_64_bits_at_any_side() -> None:
    for side in (4, 32, 299):
        pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
        assert 0 <= perceptual_hash(pixels) < 2**64
