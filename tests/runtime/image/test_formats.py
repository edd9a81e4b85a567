"""Every format that people's folders hold: recognised by content, read upright, or told that its reader is missing."""

from __future__ import annotations

import contextlib
import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from itl_infer.errors import ImageError, ItlError, MissingExtraError, ReaderMissingError
from itl_infer.image import IMAGE_SUFFIXES, load_pixels, load_thumbnail
from itl_infer.image.formats import FORMATS, HEAD_BYTES, recognise
from itl_infer.image.jxl import read_header
from tests.places import ROOT
from tests.runtime.image.helpers import RULES, SIDE, distance, expected, scene
from tests.runtime.image.raws import dng

PLUGINS = {".heic": "pillow_heif", ".jxl": "pillow_jxl"}
UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(suffix: str, image: Image.Image | None = None, **options: object) -> bytes:
    """A picture in the format of a suffix; skips where what writes it is missing."""
    if suffix in PLUGINS:
        module = pytest.importorskip(PLUGINS[suffix])
        getattr(module, "register_heif_opener", lambda: None)()
    content = io.BytesIO()
    kinds = {
        ".jfif": "JPEG",
        ".jif": "JPEG",
        ".pjpeg": "JPEG",
        ".apng": "PNG",
        ".heic": "HEIF",
        ".jxl": "JXL",
    }
    kind = kinds.get(suffix) or Image.registered_extensions()[suffix]
    if kind in ("JPEG", "MPO", "WEBP", "AVIF", "HEIF"):
        options.setdefault("quality", 95)
    (image or scene(240, 160)).save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    "suffix",
    [".jfif", ".jpe", ".jif", ".pjpeg", ".mpo", ".apng", ".dib", ".jp2", ".j2k", ".avif", ".heic", ".jxl"],
)
def test_endings_of_phones_and_of_the_web(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(encoded(suffix))
    assert suffix in IMAGE_SUFFIXES
    assert distance(load_pixels(path, RULES), expected(scene(240, 160))) <= 12
    assert load_thumbnail(path, 60).size == (60, 40)


@pytest.mark.parametrize("content", [".heic", ".jxl", ".avif", ".png", ".jpg", ".webp", ".jp2"])
@pytest.mark.parametrize("called", [".jpg", ".heic", ".dng", ".jxl", ".tif", ""])
def test_content_beats_the_ending(tmp_path: Path, content: str, called: str) -> None:
    path = tmp_path / f"picture{called}"
    path.write_bytes(encoded(content))
    assert distance(load_pixels(path, RULES), expected(scene(240, 160))) <= 12


@pytest.mark.parametrize("orientation", [1, *UNDO])
@pytest.mark.parametrize("suffix", [".heic", ".avif", ".jxl"])
def test_a_container_turns_its_picture_once(suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = scene(240, 160).transpose(UNDO[orientation]) if orientation > 1 else scene(240, 160)
    content = encoded(suffix, lying, exif=exif.tobytes())
    assert distance(load_pixels(io.BytesIO(content), RULES), expected(scene(240, 160))) <= 12


def test_what_an_xmp_says_of_a_container_that_does_not_turn_is_no_word_on_it() -> None:
    """Of an AVIF, only the container turns; Pillow would believe the XMP too."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    content = encoded(".avif", scene(240, 160), xmp=xmp)
    assert distance(load_pixels(io.BytesIO(content), RULES), expected(scene(240, 160))) <= 12


@given(st.integers(1, 70), st.integers(1, 3000), st.integers(1, 8))
def test_a_jpeg_xl_says_how_large_it_is(width: int, height: int, orientation: int) -> None:
    """Before it is decoded: its plugin does that as soon as it opens one."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for container in (False, True):
        content = encoded(".jxl", Image.new("L", (width, height)), effort=1, use_container=container)
        assert read_header(io.BytesIO(content))[:2] == (width, height)
    with pytest.raises(ImageError, match="more than the limit"):
        load_pixels(io.BytesIO(content), RULES, max_megapixels=width * height / 2e6)


@given(st.binary(max_size=200))
def test_no_bytes_upset_who_asks_for_their_format(content: bytes) -> None:
    for head in (
        content,
        *(start + content for start in (b"\0\0\0\x18ftyp", b"II*\0", b"MM\0*", b"\xff\x0a")),
    ):
        form = recognise(head[:HEAD_BYTES])
        assert form is None or form in FORMATS
        for name in ("a.dng", "a.jpg", "a"):
            with contextlib.suppress(ImageError):
                load_pixels(io.BytesIO(head), RULES, name=name, max_megapixels=1)


def test_every_suffix_is_of_one_format() -> None:
    suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
    assert len(suffixes) == len(set(suffixes))
    asked = ".heic .heif .avif .jxl .jfif .jpe .jif .mpo .jp2 .dng .cr2 .cr3 .nef .arw .orf .raf .rw2"
    assert set(asked.split()) <= IMAGE_SUFFIXES
    assert ".svg" not in IMAGE_SUFFIXES


def test_two_pictures_in_one_jpeg_are_the_first(tmp_path: Path) -> None:
    """As phones and stereo cameras write them; a map of brightness for other screens is such a second one."""
    path = tmp_path / "two.jpg"
    other = Image.new("RGB", (120, 80), "red")
    scene(240, 160).save(path, "MPO", save_all=True, append_images=[other], quality=95)
    assert distance(load_pixels(path, RULES), expected(scene(240, 160))) <= 12


@pytest.mark.parametrize("suffix", PLUGINS)
def test_a_missing_reader_is_an_error_that_says_what_brings_it(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(suffix)
    for name in (f"picture{suffix}", "picture.jpg"):
        (tmp_path / name).write_bytes(content)
    jpeg = tmp_path / f"jpeg{suffix}"
    jpeg.write_bytes(encoded(".jpg"))
    monkeypatch.setitem(sys.modules, PLUGINS[suffix], None)
    for name in (f"picture{suffix}", "picture.jpg"):
        with pytest.raises(ReaderMissingError) as caught:
            load_pixels(tmp_path / name, RULES)
        error = caught.value
        assert (error.name, error.suffix) == (str(tmp_path / name), suffix)
        assert isinstance(error, (ImageError, MissingExtraError))
        assert str(error).endswith(f"pip install 'itl-infer[{suffix.strip('.').replace('heic', 'heif')}]'")
        copy = pickle.loads(pickle.dumps(error))  # as from a worker
        assert isinstance(copy, ItlError)
        assert (str(copy), copy.extra) == (str(error), error.extra)
    assert load_pixels(jpeg, RULES).shape == (SIDE, SIDE, 3)  # needs no reader, whatever it is called


def test_nothing_is_imported_before_a_file_needs_it(tmp_path: Path) -> None:
    scene().save(tmp_path / "a.jpg")
    script = f"""
import sys
import itl_infer.image
assert not any(name.partition(".")[0] == "PIL" for name in sys.modules)
itl_infer.image.load_pixels({str(tmp_path / "a.jpg")!r}, itl_infer.image.ImageRules(8))
found = {{"pillow_heif", "pillow_jxl", "rawpy", "PIL.ImageCms"}} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


class TestRaw:
    @pytest.fixture(autouse=True)
    def _needs_rawpy(self) -> None:
        pytest.importorskip("rawpy")

    @pytest.mark.parametrize(("orientation", "turn"), [(1, None), (3, 3), (6, 6), (8, 8)])
    @pytest.mark.parametrize("preview", ["lying", "turned", "exif", "none", "tiny"])
    def test_its_preview_upright(
        self, tmp_path: Path, preview: str, orientation: int, turn: int | None
    ) -> None:
        """The camera's own picture; without one that is worth the name, what the sensor saw."""
        sensor = scene(640, 480)
        back = {None: None, 3: 3, 6: 8, 8: 6}[turn]
        upright = sensor if back is None else sensor.transpose(UNDO[back])
        exif = Image.Exif()
        exif[0x0112] = orientation
        shown = {
            "lying": sensor.resize((400, 300)),
            "turned": upright if orientation in (6, 8) else sensor,
            "exif": sensor.resize((400, 300)),
            "none": None,
            "tiny": Image.new("RGB", (160, 120), "red"),
        }[preview]
        path = tmp_path / "picture.dng"
        own = exif.tobytes() if preview == "exif" else b""
        path.write_bytes(dng(sensor, preview=shown, orientation=orientation, exif=own))
        developed = preview in ("none", "tiny")  # by LibRaw's taste
        assert distance(load_pixels(path, RULES), expected(upright)) <= (40 if developed else 8)
        small = load_thumbnail(path, 60)
        assert small.size == ((45, 60) if orientation in (6, 8) else (60, 45))

    def test_a_tiff_called_raw_is_a_tiff_and_the_other_way_round(self, tmp_path: Path) -> None:
        scene(640, 480).save(tmp_path / "scan.nef", "TIFF")
        (tmp_path / "raw.tif").write_bytes(dng(scene(640, 480), preview=scene(400, 300)))
        for name in ("scan.nef", "raw.tif"):
            assert distance(load_pixels(tmp_path / name, RULES), expected(scene(640, 480))) <= 8

    @pytest.mark.parametrize(
        "content", [b"II*\0", b"MM\0*\0\0\0\x08", b"FUJIFILMCCD-RAW nothing", b"II*\0" * 20]
    )
    def test_damaged(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "picture.arw").write_bytes(content)
        with pytest.raises(ImageError) as caught:
            load_pixels(tmp_path / "picture.arw", RULES)
        assert caught.value.reason.startswith("truncated or damaged: ")
        assert "b'" not in caught.value.reason

    def test_limits_hold_for_what_is_developed(self, tmp_path: Path) -> None:
        (tmp_path / "a.dng").write_bytes(dng(scene(640, 480), preview=None))
        with pytest.raises(ImageError, match=r"640 x 480 takes as much as 0\.1536 megapixels, more than"):
            load_pixels(tmp_path / "a.dng", RULES, max_megapixels=0.1)


def test_a_raw_is_not_read_as_its_thumbnail_where_its_reader_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow reads the first directory of a TIFF, which is a picture of 32 pixels here."""
    monkeypatch.setitem(sys.modules, "rawpy", None)
    whole = dng(scene(640, 480), preview=scene(400, 300))
    for name, content in {"a.dng": whole, "b.tif": whole, "c.arw": b"II*\0", "d.nef": b"??"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ReaderMissingError) as caught:
            load_pixels(tmp_path / name, RULES)
        assert caught.value.extra == "raw"
        assert caught.value.suffix == (".dng" if name == "b.tif" else name[1:])
    scene(640, 480).save(tmp_path / "scan.nef", "TIFF")
    assert np.array_equal(load_pixels(tmp_path / "scan.nef", RULES), expected(scene(640, 480)))
