"""Files that are no pictures are named, remembered, and stop nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itl_infer.image import describe_formats
from itl_infer.index import Index
from itl_infer.index.upkeep import read_status
from itl_infer.ingest import embed_directory, reading
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, assert_whole, write_picture
from tests.runtime.ingest.helpers import counts, pictures_in


def test_bad_files_are_named_once_and_do_not_stop_the_run(index: Index, photos: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(photos / "good.jpg")
    whole = (photos / "good.jpg").read_bytes()
    (photos / "text.jpg").write_text("this is a text")
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.png").touch()
    os.mkfifo(photos / "pipe.gif")
    (photos / "folder.jpg").mkdir()
    first = embed_directory(photos, index)
    assert counts(first) == {"unchanged": 6, "embedded": 1, "failed": 4}
    assert {Path(path).name: error.split(":")[0] for path, error in first.failed} == {
        "cut.jpg": "truncated or damaged",
        "empty.png": "empty file (0 bytes)",
        "pipe.gif": "not a regular file",
        "text.jpg": f"not a {describe_formats()} picture",
    }
    for _ in range(2):
        assert counts(embed_directory(photos, index)) == {"unchanged": 7, "known_failures": 4}
    assert counts(embed_directory(photos, index, retry_failed=True)) == {"unchanged": 7, "failed": 4}
    assert len(read_status(index.path).failures) == 4
    (photos / "cut.jpg").write_bytes(whole)
    (photos / "text.jpg").unlink()
    assert counts(embed_directory(photos, index)) == {"unchanged": 7, "reused": 1, "known_failures": 2}
    assert len(read_status(index.path).failures) == 2


def test_a_known_failure_with_a_new_time_is_not_decoded_again(index: Index, photos: Path) -> None:
    (photos / "text.jpg").write_text("this is a text")
    embed_directory(photos, index)
    os.utime(photos / "text.jpg", ns=(LONG_AGO_NS, LONG_AGO_NS))
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "known_failures": 1}
    (photos / "text.jpg").write_text("this is another text")
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "failed": 1}


def test_a_higher_limit_of_megapixels_tries_again(index: Index, photos: Path) -> None:
    Image.new("L", (100, 100)).save(photos / "large.png")
    for limit, expected in [(0.001, "failed"), (0.001, "known_failures"), (0.002, "failed"), (1, "embedded")]:
        report = embed_directory(photos, index, max_megapixels=limit)
        assert counts(report) == {"unchanged": 6, expected: 1}


def test_what_the_system_refuses_is_tried_each_time(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission may be given, or a network come back, without the file changing."""
    write_picture(photos / "new.bmp", 50)
    real_open = Path.open

    def refuse(self: Path, *arguments: object, **options: object):
        if self.name == "new.bmp":
            raise PermissionError(13, "Permission denied")
        return real_open(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        for _ in range(2):
            report = embed_directory(photos, index)
            assert report.failed == [(str(photos / "new.bmp"), "cannot be read: Permission denied")]
    assert counts(embed_directory(photos, index)) == {"unchanged": 6, "embedded": 1}
    assert read_status(index.path).failures == ()


def test_an_embedding_that_is_no_unit_vector_is_not_stored(tmp_path: Path, photos: Path) -> None:
    class Broken(FakeBundle):
        def embed_pixels(self, pixel_values: np.ndarray, **options: int) -> np.ndarray:
            embeddings = super().embed_pixels(pixel_values, **options)
            embeddings[1], embeddings[2] = np.nan, 2
            return embeddings

    index = Index.open(tmp_path / "photos.itl", Broken())
    report = embed_directory(photos, index)
    assert counts(report) == {"embedded": 4, "failed": 2}
    assert "no unit vector" in report.failed[0].error


@pytest.mark.parametrize("whole_bytes", [2**24, 0])  # a file is read into memory, or twice
def test_files_that_go_or_change_between_the_walk_and_the_reading(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch, whole_bytes: int
) -> None:
    write_picture(photos / "001.bmp", 50, LONG_AGO_NS + 1)
    write_picture(photos / "002.bmp", 51, LONG_AGO_NS + 1)
    write_picture(photos / "new.bmp", 52)

    real_open, real_load = reading.open_picture_file, reading.load_picture

    def remove_then_open(path: str):
        if path.endswith(("001.bmp", "new.bmp")):
            Path(path).unlink()
        return real_open(path)

    def change_then_load(*arguments: object, **options: object):
        with (photos / "002.bmp").open("ab") as changing:
            changing.write(b"more")
        return real_load(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_WHOLE_BYTES", whole_bytes)
        patch.setattr(reading, "open_picture_file", remove_then_open)
        patch.setattr(reading, "load_picture", change_then_load)
        report = embed_directory(photos, index)
    assert counts(report) == {"unchanged": 4, "removed": 1, "failed": 1}
    assert report.failed == [
        (str(photos / "002.bmp"), "changed while it was read: run again when it is complete")
    ]
    assert counts(embed_directory(photos, index)) == {"unchanged": 4, "embedded": 1}
    assert_whole(index, pictures_in(photos))
