"""Runs that are large, moving or interrupted: what was done is kept, and memory is bounded."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from itl_infer.image import Facts
from itl_infer.index import Index, Picture
from itl_infer.ingest import Progress, embed_directory
from itl_infer.ingest.reading import Reader, Reading
from itl_infer.ingest.survey import Item
from tests.fake_bundle import LONG_AGO_NS, FakeBundle, assert_whole, write_picture, write_pictures
from tests.runtime.ingest.helpers import counts, pictures_in


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_files_in_one_folder(tmp_path: Path, count: int) -> None:
    """Entered by hand, as if embedded: what is tested is the walk, the comparing and the compaction."""
    folder = tmp_path / "many"
    write_picture(tmp_path / "first.bmp", 0)
    write_picture(tmp_path / "second.bmp", 1)
    index = Index.open(tmp_path / "many.itl", FakeBundle())
    folder.mkdir()
    names = [f"{i:06}.bmp" for i in range(count)]
    embedding = index.bundle.embed_texts(["red"])[0]
    with index.writing() as writer:
        root = writer.add_root(folder)
        for i, name in enumerate(names):
            os.link(tmp_path / ("first.bmp" if i % 2 else "second.bmp"), folder / name)
            writer.add(Picture(root.id, name.encode(), 102, LONG_AGO_NS, b"digest"), embedding, Facts(4, 4))
        writer.commit()
    (folder / "000007.bmp").rename(folder / "new.bmp")
    assert counts(embed_directory(folder, index)) == {"unchanged": count - 1, "removed": 1, "embedded": 1}
    left = count * 7 // 10
    for name in names[left:]:
        (folder / name).unlink()
    assert counts(embed_directory(folder, index)) == {"unchanged": left, "removed": count - left}
    assert index.state.rows == len(set(index.paths)) == left


def test_a_folder_that_changes_while_it_is_walked(tmp_path: Path) -> None:
    """Whatever moves meanwhile, every row is true, and the next run in peace has everything."""
    folder = tmp_path / "moving"
    write_pictures(folder / "a", 60)
    write_pictures(folder / "still", 20, seed=500)
    index = Index.open(tmp_path / "moving.itl", FakeBundle())
    embed_directory(folder, index)
    stop = threading.Event()

    def move() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            (folder / "ab"[turn % 2 == 0]).rename(folder / "ab"[turn % 2])
            write_picture(tmp_path / "new.bmp", 1000 + turn)  # and then all of it is there at once
            (tmp_path / "new.bmp").rename(folder / f"new{turn}.bmp")
            (folder / f"new{turn - 3}.bmp").unlink(missing_ok=True)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(10):
            report = embed_directory(folder, index)
            assert report.failed == []
            assert len(index.paths) == len(set(index.paths))
            assert {path for path in index.paths if "still" in path} == set(pictures_in(folder / "still"))
    finally:
        stop.set()
        mover.join()
    embed_directory(folder, index)
    assert_whole(index, pictures_in(folder))


class Interrupting(FakeBundle):
    """Raises in the place of a batch."""

    def __init__(self, batch: int, error: BaseException) -> None:
        super().__init__()
        self.batch, self.error = batch, error

    def embed_pixels(self, pixel_values: np.ndarray, **options: int) -> np.ndarray:
        self.batch -= 1
        if self.batch < 0:
            raise self.error
        return super().embed_pixels(pixel_values, **options)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("graph")])
def test_an_interrupt_keeps_what_was_embedded(tmp_path: Path, error: BaseException) -> None:
    write_pictures(tmp_path / "photos", 30)
    index = Index.open(tmp_path / "photos.itl", Interrupting(3, error))
    before = set(threading.enumerate())
    with pytest.raises(type(error)):
        embed_directory(tmp_path / "photos", index, batch_size=5)
    assert len(index) == len(Index.open(index.path)) == 15
    assert_whole(index)
    ends = time.monotonic() + 5  # nobody waits for the readers, and they end
    while not set(threading.enumerate()) <= before:
        assert time.monotonic() < ends
        time.sleep(0.01)
    report = embed_directory(tmp_path / "photos", Index.open(index.path, FakeBundle()))
    assert counts(report) == {"unchanged": 15, "embedded": 15}


# The standard library, interrupted in the middle of listing a folder, is told off for not closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_at_any_moment_keeps_what_was_embedded(tmp_path: Path) -> None:
    """Ctrl-C comes between any two instructions, those of a commit among them."""
    write_pictures(tmp_path / "photos", 60)
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    undisturbed = embed_directory(tmp_path / "photos", index, batch_size=2)
    kept = []
    for delay in np.linspace(0.0, undisturbed.seconds, 25):
        if len(index) == 60:
            shutil.rmtree(index.path)
        index = Index.open(tmp_path / "photos.itl", FakeBundle())
        before = len(index)
        timer = threading.Timer(delay, signal.raise_signal, [signal.SIGINT])
        try:
            timer.start()
            embed_directory(tmp_path / "photos", index, batch_size=2)
            timer.join()
        except KeyboardInterrupt:
            timer.join()
        index = Index.open(tmp_path / "photos.itl", FakeBundle())
        assert_whole(index)
        assert len(index) >= before
        kept.append(len(index) - before)
    assert max(kept) > 0


@pytest.mark.parametrize("batch_size", [4, 5, 60])
def test_commits_come_in_small_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    import itl_infer.ingest.run as run

    assert (run.COMMIT_ROWS, run.COMMIT_SECONDS) == (512, 5.0)
    monkeypatch.setattr(run, "COMMIT_ROWS", 10)
    write_pictures(tmp_path / "photos", 60)
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    committed: list[int] = []

    def watch(progress: Progress) -> None:
        on_disk = Index.open(index.path)
        committed.append(progress.done - len(on_disk))

    embed_directory(tmp_path / "photos", index, batch_size=batch_size, progress=watch)
    assert max(committed) <= 10


def test_commits_do_not_wait_for_a_slow_file_or_a_full_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import itl_infer.ingest.run as run

    monkeypatch.setattr(run, "COMMIT_SECONDS", 0.1)
    real_read = Reader.read
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    on_disk = []

    def read_slowly(reader: Reader, item: Item) -> Reading:
        if item.location.endswith("009.bmp"):
            time.sleep(0.5)
            on_disk.append(len(Index.open(index.path)))
        return real_read(reader, item)

    monkeypatch.setattr(Reader, "read", read_slowly)
    write_pictures(tmp_path / "photos", 12)
    embed_directory(tmp_path / "photos", index, workers=1)
    assert on_disk == [9]
    assert len(index) == 12


def test_memory_and_reading_ahead_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, embedded, ahead = [], [], []
    real_read = Reader.read

    def read(reader: Reader, item: Item) -> Reading:
        begun.append(item.location)
        ahead.append(len(begun) - len(embedded))
        return real_read(reader, item)

    class Slow(FakeBundle):
        def embed_pixels(self, pixel_values: np.ndarray, **options: int) -> np.ndarray:
            time.sleep(0.005)
            embedded.extend(pixel_values)
            return super().embed_pixels(pixel_values, **options)

    monkeypatch.setattr(Reader, "read", read)
    write_pictures(tmp_path / "photos", 200)
    index = Index.open(tmp_path / "photos.itl", Slow())
    embed_directory(tmp_path / "photos", index, workers=2, batch_size=8)
    assert 8 < max(ahead) <= 3 * 8 + 2 + 2  # a batch, two being read, what the workers hold
    assert index.paths[:] == sorted(index.paths)  # in order, whichever thread was first


@pytest.mark.parametrize("setting", [{"workers": 0}, {"batch_size": 0}, {"batch_size": 513}])
def test_settings_that_cannot_be_are_refused(index: Index, photos: Path, setting: dict[str, int]) -> None:
    [(name, value)] = setting.items()
    with pytest.raises(ValueError, match=f"{name} is {value}, expected 1"):
        embed_directory(photos, index, **setting)


def test_progress_has_a_rate_and_a_time_left(index: Index, photos: Path) -> None:
    write_pictures(photos / "more", 10, seed=50)
    seen: list[Progress] = []
    embed_directory(photos, index, batch_size=4, progress=seen.append)
    assert [(progress.done, progress.total) for progress in seen] == [(4, 10), (8, 10), (10, 10)]
    assert Progress(5, 20, 2.0).rate == 2.5
    assert Progress(5, 20, 2.0).eta_seconds == 6.0
    assert Progress(0, 20, 0.0).eta_seconds is None
