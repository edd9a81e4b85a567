"""What is no picture becomes one clear reason, within limits, in any number of threads."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from itl_infer.errors import ImageError
from itl_infer.image import decode as image
from itl_infer.image import describe_formats, load_pixels
from tests.runtime.image.helpers import RULES, SEED, SIDE, scene


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
    assert reason(tmp_path / "text.jpg") == f"not a {describe_formats()} picture"
    assert reason(tmp_path / "postscript.png") == f"not a {describe_formats()} picture"
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
@pytest.mark.parametrize("share", [0.2, 0.4])
def test_files_of_which_less_than_half_is_there(
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


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000"]), st.data())
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
        if suffix == "jpg":  # is decoded small, and within the limit so
            assert load_pixels(path, RULES, max_megapixels=0.05).shape == (SIDE, SIDE, 3)
            continue
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
