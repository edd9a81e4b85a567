"""Pictures that nothing here reads are counted and told, forgotten by no run, and embedded once they can be."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from itl_infer.image import load_pixels
from itl_infer.index import Index
from itl_infer.index.upkeep import prune, read_status, remembered_paths
from itl_infer.ingest import LeftOut, Note, embed_directory, run
from tests.fake_bundle import FakeBundle
from tests.runtime.image.raws import dng
from tests.runtime.ingest.helpers import counts

SCENE = Image.effect_mandelbrot((320, 240), (-2, -1.5, 1, 1.5), 60).convert("RGB")


@pytest.fixture
def phone(photos: Path) -> Path:
    """Two HEIC, one of them called .jpg, a RAW, and a JPEG called .heic."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    SCENE.save(photos / "IMG_1.HEIC", quality=80)
    SCENE.transpose(Image.Transpose.ROTATE_90).save(photos / "really.heic", quality=80)
    (photos / "really.heic").rename(photos / "really.jpg")
    (photos / "raw.dng").write_bytes(dng(SCENE, preview=SCENE))
    SCENE.transpose(Image.Transpose.ROTATE_180).save(photos / "jpeg.heic", "JPEG")
    (photos / "clip.mov").write_bytes(b"\0\0\0\x14ftypqt  ")  # no picture, and passed over without a word
    return photos


def without_readers(patch: pytest.MonkeyPatch) -> None:
    for module in ("pillow_heif", "rawpy"):
        patch.setitem(sys.modules, module, None)


def test_what_is_left_out_is_told_and_taken_once_its_reader_is_there(
    index: Index, phone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = {".heic": LeftOut(2, "heif"), ".dng": LeftOut(1, "raw")}
    with monkeypatch.context() as patch:
        without_readers(patch)
        report = embed_directory(phone, index)
        assert report.left_out == left_out
        assert report.to_json()["left_out"] == {
            ".heic": {"files": 2, "extra": "heif"},
            ".dng": {"files": 1, "extra": "raw"},
        }
        assert (report.embedded, report.failed) == (1, [])  # the JPEG, whatever it is called
        again = embed_directory(phone, index)
        assert (again.left_out, again.embedded, again.unchanged) == (left_out, 0, 7)
    status = read_status(index.path)
    assert (status.failures, status.left_out) == ((), left_out)
    assert status.to_json()["left_out"][".heic"] == {"files": 2, "extra": "heif"}
    pytest.importorskip("rawpy")
    assert counts(embed_directory(phone, index)) == {"unchanged": 7, "embedded": 3}
    assert read_status(index.path).left_out == {}


def test_files_that_were_left_out_and_are_gone_are_forgotten(
    index: Index, phone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_readers(monkeypatch)
    embed_directory(phone, index)
    (phone / "IMG_1.HEIC").unlink()
    embed_directory(phone, index)
    assert read_status(index.path).left_out == {".dng": (1, "raw"), ".heic": (1, "heif")}
    (phone / "really.jpg").unlink()
    prune(index.path)
    assert read_status(index.path).left_out == {".dng": (1, "raw")}


def test_an_index_from_before_has_left_out_nothing(index: Index) -> None:
    with sqlite3.connect(index.path / "index.sqlite") as database:
        database.execute("DROP TABLE left_out")
    database.close()
    assert read_status(index.path).left_out == {}
    assert remembered_paths(index.path) == [str(index.roots[0].folder)]


def test_single_files_that_were_left_out_are_remembered(
    tmp_path: Path, phone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_readers(monkeypatch)
    index = Index.open(tmp_path / "new.itl", FakeBundle())
    embed_directory(phone / "IMG_1.HEIC", index)
    assert remembered_paths(index.path) == [str(phone / "IMG_1.HEIC")]


def test_what_is_embedded_stays_where_its_reader_goes(
    index: Index, phone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rawpy")
    embed_directory(phone, index)
    without_readers(monkeypatch)
    (phone / "IMG_1.HEIC").touch()
    assert counts(embed_directory(phone, index)) == {"unchanged": 10}
    shutil.copy(phone / "really.jpg", phone / "IMG_1.HEIC")  # another picture now, which nothing reads
    report = embed_directory(phone, index)
    assert report.unchanged + report.reused == 10 or report.left_out == {".heic": LeftOut(1, "heif")}


def test_a_folder_of_nothing_else(tmp_path: Path, phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new").mkdir()
    shutil.copy(phone / "IMG_1.HEIC", tmp_path / "new")
    without_readers(monkeypatch)
    index = Index.open(tmp_path / "new.itl", FakeBundle())
    report = embed_directory(tmp_path / "new", index)
    assert report.left_out == {".heic": LeftOut(1, "heif")}
    assert len(index) == 0


def test_a_file_that_is_cut_at_its_end_is_embedded_with_a_note(index: Index, photos: Path) -> None:
    SCENE.save(photos / "cut.jpg", quality=90)
    content = (photos / "cut.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(content[:-60])
    report = embed_directory(photos, index)
    assert (report.embedded, report.failed) == (1, [])
    [note] = report.incomplete
    assert note == Note(str(photos / "cut.jpg"), note.note)
    assert note.note.startswith("cut at the end: 9")
    assert report.to_json()["incomplete"] == [{"path": note.path, "note": note.note}]
    assert counts(embed_directory(photos, index)) == {"unchanged": 7}
    assert read_status(index.path).failures == ()


@pytest.mark.parametrize(
    "error",
    [
        "4 x 3 is 108 megapixels, more than the limit of 100: raise --max-megapixels (max_megapixels) if it is meant",
        "not a JPEG, PNG, WebP, GIF, TIFF or BMP picture",
        "truncated or damaged: image file is truncated (11 bytes not processed)",
    ],
)
def test_what_an_earlier_version_could_not_read_is_tried_once_more(
    index: Index, photos: Path, error: str
) -> None:
    (photos / "picture.jpg").write_text("not read, and never will be")
    embed_directory(photos, index)
    with sqlite3.connect(index.path / "index.sqlite") as database:
        database.execute("UPDATE failures SET error = ?", (error,))
    database.close()
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "failed": 1}
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "known_failures": 1}


def test_a_shortage_of_memory_is_no_failure_of_the_picture(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SCENE.save(photos / "new.png")

    def fail(_: ImageFile.ImageFile) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", fail)
        for _ in range(2):  # and not remembered as one
            [failed] = embed_directory(photos, index, exclude=["*.bmp"]).failed
            assert failed.error.startswith("not enough memory")
    assert counts(embed_directory(photos, index, no_exclude=True)) == {"reused": 6, "embedded": 1}
    assert read_status(index.path).failures == ()


@pytest.mark.parametrize(("memory", "expected"), [(2.0**29, (1, 4)), (2.0**33, (8, 32))])
def test_less_at_a_time_where_little_memory_may_be_used(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, memory: float, expected: tuple[int, int]
) -> None:
    threads: list[int] = []
    batches: list[int] = []

    class Watched(FakeBundle):
        def embed_pixels(self, pixel_values, *, batch_size=32):
            batches.append(batch_size)
            return super().embed_pixels(pixel_values, batch_size=batch_size)

    class Pool(run.ThreadPoolExecutor):
        def __init__(self, workers: int, **options: str) -> None:
            threads.append(workers)
            super().__init__(workers, **options)

    monkeypatch.setattr(run, "usable_memory", lambda: memory)
    monkeypatch.setattr(run, "usable_cpus", lambda: 8)
    monkeypatch.setattr(run, "ThreadPoolExecutor", Pool)
    embed_directory(photos, Index.open(tmp_path / "new.itl", Watched()))
    assert (threads[0], batches[0]) == expected


def test_pixels_of_ordinary_pictures_are_what_they_were(tmp_path: Path) -> None:
    """No bit of a JPEG or PNG without a profile may change: an index would no longer be what its files are."""
    SCENE.save(tmp_path / "a.png")
    rules = FakeBundle.image_rules
    square = SCENE.resize((rules.side, rules.side), Image.Resampling.BILINEAR)
    assert load_pixels(tmp_path / "a.png", rules).tobytes() == square.tobytes()
