"""Pictures that take much memory: counted by what is decoded, one at a time; a shortage is said to be one."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import textwrap
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from itl_infer.errors import ImageError, ImageMemoryError, is_shortage_of_memory
from itl_infer.image import ImageRules, admission, load_pixels, load_thumbnail
from itl_infer.image.admission import Turns
from tests.places import ROOT
from tests.runtime.image.helpers import RULES, SIDE, distance, expected, scene
from tests.runtime.image.test_formats import encoded


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """108 megapixels, as a JPEG from top to bottom and as one in scans."""
    folder = tmp_path_factory.mktemp("phone")
    image = scene(240, 180).resize((12_000, 9_000))
    image.save(folder / "phone.jpg", quality=80)
    image.save(folder / "progressive.jpg", quality=80, progressive=True)
    return folder


@pytest.mark.parametrize("resize", ["bicubic-antialias", "bilinear"])
def test_pictures_of_large_sensors_are_read_by_default(phone: Path, resize: str) -> None:
    for name in ("phone.jpg", "progressive.jpg")[: 1 if resize == "bilinear" else 2]:
        pixels = load_pixels(phone / name, ImageRules(SIDE, resize))
        assert distance(pixels, load_pixels(scene(240, 180), ImageRules(SIDE, resize))) <= 16
    assert load_thumbnail(phone / "phone.jpg", 360).size == (360, 270)


def test_the_limit_counts_what_is_decoded(phone: Path) -> None:
    """Of a JPEG an eighth in each direction, but all of it is read; of one in scans, all that is kept of them."""
    assert load_pixels(phone / "phone.jpg", RULES, max_megapixels=13.5).shape == (SIDE, SIDE, 3)
    with pytest.raises(
        ImageError, match=r"12000 x 9000 takes as much as 13\.5 megapixels, more than the limit of 13: "
    ):
        load_pixels(phone / "phone.jpg", RULES, max_megapixels=13)
    with pytest.raises(
        ImageError, match=r"12000 x 9000 takes as much as 40\.5 megapixels, more than the limit of 40: "
    ):
        load_pixels(phone / "progressive.jpg", RULES, max_megapixels=40)


@pytest.mark.skipif(sys.platform != "linux", reason="how much memory was used is read as Linux tells it")
def test_memory_of_ten_such_pictures(phone: Path) -> None:
    script = f"""
        from concurrent.futures import ThreadPoolExecutor
        from itl_infer.image import ImageRules, load_pixels
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: load_pixels({str(phone / "phone.jpg")!r}, ImageRules(288)), range(10)))
        with open("/proc/self/status") as file:
            print(*(line.split()[1] for line in file if line.startswith("VmHWM")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 300_000  # kB


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize(
    "texts",
    [
        chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(2 * PngImagePlugin.MAX_TEXT_CHUNK))),
        chunk(b"iTXt", b"note\0\1\0\0\0" + zlib.compress(bytes(2 * PngImagePlugin.MAX_TEXT_CHUNK))),
        chunk(b"tEXt", b"note\0" + b"a" * 2**20) * 70,
        chunk(b"iCCP", b"wide\0\0" + zlib.compress(bytes(2 * PngImagePlugin.MAX_TEXT_CHUNK))),
    ],
    ids=["zTXt", "iTXt", "much tEXt", "iCCP"],
)
def test_a_png_with_more_text_than_pillow_takes(texts: bytes, where: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    content = encoded(".png", scene().transpose(Image.Transpose.ROTATE_180), exif=exif.tobytes())
    at = 33 if where == "before" else content.index(b"IEND") - 4  # behind the header, or the pixels
    pixels = load_pixels(io.BytesIO(content[:at] + texts + content[at:]), RULES)
    assert np.array_equal(pixels, expected(scene()))


SHORTAGES = [
    MemoryError(),
    OSError("out of memory error when reading image file"),
    RuntimeError("Memory allocation error: Unspecified: Allocating 72000015 bytes failed"),
    ValueError("Out of memory"),
    zlib.error("Error -4 while decompressing data"),
    RuntimeError("std::bad_alloc"),
]


@pytest.mark.parametrize("shortage", SHORTAGES, ids=str)
def test_a_shortage_of_memory_is_tried_again_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shortage: Exception
) -> None:
    scene(2400, 1600).save(tmp_path / "a.jpg", quality=95)
    sizes: list[tuple[int, int]] = []
    load = ImageFile.ImageFile.load

    def fail_once(image: ImageFile.ImageFile) -> object:
        sizes.append(image.size)
        if len(sizes) == 1:
            raise shortage
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail_once)
    rules = ImageRules(200)
    assert load_pixels(tmp_path / "a.jpg", rules).shape == (200, 200, 3)
    assert sizes[:2] == [(600, 400), (300, 200)]
    assert is_shortage_of_memory(shortage)


@pytest.mark.parametrize("shortage", SHORTAGES, ids=str)
def test_a_shortage_that_lasts_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shortage: Exception
) -> None:
    scene().save(tmp_path / "a.png")

    def fail(_: ImageFile.ImageFile) -> None:
        raise shortage

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(ImageMemoryError, match="not enough memory to decode it"):
        load_pixels(tmp_path / "a.png", RULES)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on memory is set as Linux sets it")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "JPEG", "HEIF", "JXL"])
def test_libraries_that_do_not_say_that_memory_is_short(tmp_path: Path, kind: str) -> None:
    """Some call the picture broken, as they could not have what it takes."""
    suffix = {"HEIF": ".heic", "JXL": ".jxl"}.get(kind, ".png")
    side = 3000 if kind in ("PNG", "TIFF", "JPEG") else 1500  # the others are slow to write
    image = Image.effect_noise((side, side), 50).convert("RGB")
    options = {
        "JPEG": {"progressive": True},
        "PNG": {"compress_level": 1},
        "JXL": {"effort": 1},
        "AVIF": {"speed": 10},
        "WEBP": {"method": 0},
    }
    encoded(suffix)  # skips where its plugin is missing
    image.save(tmp_path / "a", kind, **options.get(kind, {}))
    script = f"""
        import resource
        from itl_infer.errors import ImageMemoryError
        from itl_infer.image import ImageRules, load_pixels
        from PIL import Image
        Image.init()
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + 2**24, -1))
        try:
            load_pixels({str(tmp_path / "a")!r}, ImageRules(64))
        except ImageMemoryError as error:
            print(error.reason)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("not enough memory"), done


def test_a_picture_that_the_memory_cannot_hold_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a control group allows 256 MB, the kernel would end the process in the middle of it."""
    Image.new("RGB", (3000, 2000)).save(tmp_path / "a.png")
    monkeypatch.setattr(admission, "usable_memory", lambda: 2.0**28)
    message = "not enough memory: 3000 x 2000 takes about 48 MB of the 268 MB that may be used"
    with pytest.raises(ImageMemoryError, match=message):
        load_pixels(tmp_path / "a.png", RULES)
    monkeypatch.setattr(admission, "usable_memory", lambda: 2.0**29)
    assert load_pixels(tmp_path / "a.png", RULES).shape == (SIDE, SIDE, 3)


def test_one_alone_waits_for_the_others_and_they_for_him() -> None:
    turns = Turns()
    inside: list[str] = []
    problems: list[list[str]] = []

    def work(name: str) -> None:
        for _ in range(100):
            with turns.alone() if name == "alone" else turns.together():
                inside.append(name)
                if "alone" in inside and len(inside) > 1:
                    problems.append(list(inside))
                inside.remove(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("alone", "alone", "a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert problems == []


def test_deep_grey_takes_little_more_than_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """In strips: as floating-point numbers it would take eight times as much."""
    from itl_infer.image import decode

    grey = np.linspace(0, 65535, 40 * 30).reshape(40, 30).astype(np.uint16)
    rules = ImageRules(30)
    whole = load_pixels(Image.fromarray(grey), rules)
    monkeypatch.setattr(decode, "_STRIP_PIXELS", 7 * 30)
    assert np.array_equal(load_pixels(Image.fromarray(grey), rules), whole)
