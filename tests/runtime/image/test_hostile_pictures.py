"""Pictures that mean harm cost bounded memory and time, whatever their headers say, and end in one line."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itl_infer.children import Children
from itl_infer.errors import ImageError, ImageMemoryError
from itl_infer.image import ImageRules, apart, clock, load_pixels, load_thumbnail
from itl_infer.image.decode import load_picture
from itl_infer.image.tiff import estimate
from itl_infer.image.webp import read_size
from tests.runtime.image.helpers import scene
from tests.runtime.image.raws import dng
from tests.runtime.image.test_formats import encoded

SIDE = 32
RULES = ImageRules(SIDE)


def reason(content: bytes, rules: ImageRules = RULES, **options: float) -> str:
    with pytest.raises(ImageError) as caught:
        load_pixels(io.BytesIO(content), rules, name="a", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return caught.value.reason


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + extra
        + chunk(b"IDAT", zlib.compress(bytes((width + 1) * min(height, 64))))
        + chunk(b"IEND", b"")
    )


def tiff(*tags: tuple[int, int, int, int], body: bytes = b"") -> bytes:
    """A classic TIFF; `body` begins behind the directory, at 8 + 2 + 12 * len(tags) + 4."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + body


def grey_tiff(width: int, height: int, *others: tuple[int, int, int, int], body: bytes = b"") -> bytes:
    plain = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    return tiff(*plain, *others, body=body)


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_of_empty_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose scans say, in a few bytes, that they hold nothing."""
    blocks, bits = -(-width // 8) * -(-height // 8), ""
    while blocks > 0:
        run = max(16384, min(blocks, 32767))
        bits += "0" + format(run - 16384, "014b")
        blocks -= run
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    frame = segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    tables = segment(0xDB, b"\0" + b"\1" * 64) + frame
    codes = segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0") + segment(
        0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0"
    )
    return b"\xff\xd8" + tables + codes + (segment(0xDA, b"\1\1\0\1\x3f\0") + data) * scans + b"\xff\xd9"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (png(1, 99_000_000), "1 x 99000000 takes as much as"),
        (png(990_000, 100), "990000 x 100 takes as much as 104"),
        (grey_tiff(16, 16, (322, 4, 1, 40000), (323, 4, 1, 40000)), "16 x 16 takes as much as 400"),
        (grey_tiff(16, 2**31, (278, 4, 1, 2**31)), "16 x 2147483648 is 3.436e+04 megapixels"),
        (
            grey_tiff(1000, 1000, (277, 3, 1, 60000), (278, 4, 1, 1000)),
            "1000 x 1000 takes as much as 1.5e+04",
        ),
        (jpeg_of_empty_scans(65500, 1500, 3000), "takes more than 7 s"),
        (
            b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\xff\xff\xff\x0f" + bytes(20),
            "16384 x 16384 is 268.4 megapixels",
        ),
    ],
    ids=["narrow", "wide", "tile", "strip", "samples", "scans", "webp"],
)
def test_what_the_header_tells_is_refused_before_it_is_decoded(
    content: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail(f"decoded {self}"))
    monkeypatch.setattr(apart, "decode", lambda *_: pytest.fail("decoded"))
    assert says in reason(content)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of pictures that were decoded apart."""
    names: list[str] = []
    decode = apart.decode

    def note(file: object, name: str, *others: object) -> object:
        names.append(name)
        return decode(file, name, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(apart, "decode", note)
    return names


def of_shared_tiles() -> bytes:
    """256 tiles that are all the same 20 kB."""
    tiles, head = 256, 8 + 2 + 12 * 9 + 4
    body = zlib.compress(bytes(256)) + os.urandom(20_000)
    lists = struct.pack("<I", head + 8 * tiles) * tiles + struct.pack("<I", len(body)) * tiles
    where = ((322, 4, 1, 16), (323, 4, 1, 16), (324, 4, tiles, head), (325, 4, tiles, head + 4 * tiles))
    return grey_tiff(256, 256, *where, body=lists + body)


def of_shared_tags() -> bytes:
    """400 notes that are all the same 20 kB."""
    tags = [(40000 + number, 7, 20_000, 500) for number in range(400)]
    return grey_tiff(16, 16, (273, 4, 1, 8), (278, 4, 1, 16), (279, 4, 1, 99), *tags, body=bytes(30_000))


SUSPICIOUS: dict[str, Callable[[], bytes]] = {
    "notes.png": lambda: png(SIDE, SIDE, chunk(b"prVt", bytes(2**21))),
    "tiles.tif": of_shared_tiles,
    "tags.tif": of_shared_tags,
    "scans.jpg": lambda: jpeg_of_empty_scans(8000, 1500, 150),
    "a.avif": lambda: encoded(".avif"),
    "a.heic": lambda: encoded(".heic"),
    "a.jp2": lambda: encoded(".jp2"),
    "a.jxl": lambda: encoded(".jxl"),
    "a.dng": lambda: dng(scene(64, 48), preview=None),
}


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_what_is_suspicious_is_decoded_apart_and_gives_the_same(
    name: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = SUSPICIOUS[name]()

    def read() -> tuple[object, ...]:
        try:
            picture = load_picture(io.BytesIO(content), RULES, name=name)
        except ImageError as error:
            return type(error), error.args
        return picture.pixels.tobytes(), picture.facts

    there = read()
    assert asked == [name]
    monkeypatch.setattr(apart, "is_possible", lambda: False)
    assert read() == there
    assert asked == [name]


def test_ordinary_pictures_are_decoded_here(asked: list[str], tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".webp", ".gif", ".tif", ".bmp"):
        path = tmp_path / f"a{suffix}"
        scene(300, 200).save(path)
        load_pixels(path, RULES)
        load_thumbnail(path, 16)
    scene(300, 200).save(tmp_path / "p.jpg", progressive=True)
    load_pixels(tmp_path / "p.jpg", RULES)
    assert asked == []


def test_thumbnails_and_files_apart(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.avif"
    scene(300, 200).save(path)
    there = load_thumbnail(path, 64)
    assert there.size == (64, 43)
    monkeypatch.setattr(apart, "is_possible", lambda: False)
    assert load_thumbnail(path, 64).tobytes() == there.tobytes()
    assert asked == [str(path)]


def test_a_picture_that_takes_too_long_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "SECONDS", 0.3)
    monkeypatch.setattr("itl_infer.image.decode._MOST_BLOCKS", 1e12)
    started = time.monotonic()
    assert reason(jpeg_of_empty_scans(65500, 1500, 3000)).startswith("takes more than")
    assert time.monotonic() - started < 10


def test_a_picture_that_takes_too_long_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "SECONDS", 0.05)
    plain = io.BytesIO()
    Image.new("L", (SIDE, SIDE)).save(plain, "JPEG")
    content = plain.getvalue()
    notes = segment(0xFE, b"") * 100_000
    assert reason(content[:2] + notes + content[2:]).startswith("takes more than 0 s")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_a_picture_that_takes_too_much_memory_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "MEMORY", 60 * 10**6)
    content = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(content, "AVIF", speed=10)
    assert reason(content.getvalue()).startswith(
        "takes more than 60 MB to be decoded: raise --max-megapixels"
    )
    assert load_pixels(content, RULES, max_megapixels=2000).shape == (SIDE, SIDE, 3)


def test_a_decoder_that_breaks_down_costs_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_children", Children("import os; os._exit(77)", 1))
    assert "its decoder broke down (status 77)" in reason(encoded(".avif"))
    monkeypatch.undo()
    assert load_pixels(io.BytesIO(encoded(".avif")), RULES).shape == (SIDE, SIDE, 3)


def test_a_child_that_gets_no_cpu_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the picture's fault: another run tries it again."""
    monkeypatch.setattr(apart, "_children", Children("import time; time.sleep(60)", 1))
    monkeypatch.setattr(clock, "WALL_SECONDS", 0.1)
    with pytest.raises(
        ImageMemoryError, match="not enough of a CPU, or of its drive, to decode it within 0 s"
    ):
        load_pixels(io.BytesIO(encoded(".avif")), RULES)
    assert clock.Allowance(100).wall_seconds(500 * 10**6) > 500  # a file on a slow drive


def test_a_child_that_lies_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (b"{}", b'{"notes": []}', b'{"notes": 1, "facts": 2}', b"[]", b"[" * 50_000):
        lie = struct.pack("<IQ", len(answer), 3) + answer + b"abc"
        program = f"import sys, time; sys.stdout.buffer.write({lie!r}); sys.stdout.flush(); time.sleep(60)"
        monkeypatch.setattr(apart, "_children", Children(program, 1))
        assert "damaged" in reason(encoded(".avif"))
        apart._children.end()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends a process with its parent")
def test_no_process_is_left_behind() -> None:
    script = (
        "import io, os, sys; from itl_infer.image import ImageRules, load_pixels, apart\n"
        "load_pixels(io.BytesIO(sys.stdin.buffer.read()), ImageRules(16), name='a')\n"
        "print(apart._children._idle[0].process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], input=encoded(".avif"), capture_output=True)
    assert done.returncode == -signal.SIGKILL
    for _ in range(50):
        try:
            os.kill(int(done.stdout), 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("it is still there")


def test_many_threads_ask_at_once() -> None:
    content = encoded(".avif")
    expected = load_pixels(io.BytesIO(content), RULES)
    found: list[bool] = []

    def ask() -> None:
        for _ in range(4):
            found.append(np.array_equal(load_pixels(io.BytesIO(content), RULES), expected))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 24


def test_a_file_of_a_terabyte_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    os.truncate(path, 2**40)
    with pytest.raises(
        ImageError, match=r"a file of 1099.5 GB, more than the 1.0 GB that a picture may have"
    ):
        load_pixels(path, RULES)


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_children", Children("", 1))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ImageMemoryError, match="not enough memory to start a process: No such file"):
        load_pixels(io.BytesIO(encoded(".avif")), RULES)


def test_sizes_that_headers_tell() -> None:
    for options in ({"lossless": True}, {"lossless": False}, {"exif": b"Exif\0\0abc"}):
        content = io.BytesIO()
        Image.new("RGB", (123, 45)).save(content, "WEBP", **options)
        content.seek(0)
        assert read_size(content) == (123, 45)
    for options in ({}, {"big_tiff": True}, {"compression": "tiff_lzw"}):
        content = io.BytesIO()
        Image.new("RGB", (123, 45)).save(content, "TIFF", **options)
        content.seek(0)
        cost = estimate(content)
        assert cost is not None
        assert (cost.width, cost.height, cost.part_bytes) == (123, 45, 123 * 45 * 3)
        assert cost.read_bytes <= len(content.getvalue())
    assert estimate(io.BytesIO(b"II*\0")) is None
    assert read_size(io.BytesIO(b"RIFF")) is None
