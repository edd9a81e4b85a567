"""An index that follows its folders by itself: told by the system, or by looking."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from itl_infer.index import Index
from itl_infer.ingest import Change, watch, watching
from itl_infer.ingest.network import is_on_network, kind_of_mount
from tests.fake_bundle import FakeBundle, assert_whole, write_picture, write_pictures
from tests.runtime.ingest.helpers import pictures_in

SOON = 20.0  # seconds, on a machine that is busy


class Watching:
    """A watch in a thread, and what it said."""

    def __init__(self, folders: list[Path], path: Path, poll: float | None) -> None:
        self.index = Index.open(path, FakeBundle())
        self.changes: list[Change] = []
        self.said: list[str] = []
        self.stop = threading.Event()
        options = {"poll": poll, "settle": 0.3, "stop": self.stop, "announce": self.said.append}
        self.thread = threading.Thread(
            target=watch, args=(folders, self.index, self.changes.append), kwargs=options
        )

    def expect(self, kind: str, path: Path) -> None:
        self.wait(lambda: any(change[:2] == (kind, str(path)) for change in self.changes))

    def wait(self, condition) -> None:
        end = time.monotonic() + SOON
        while not condition():
            assert self.thread.is_alive()
            assert time.monotonic() < end, (self.changes, self.said)
            time.sleep(0.02)


@contextlib.contextmanager
def watching_of(folders: list[Path], path: Path, poll: float | None) -> Iterator[Watching]:
    watched = Watching(folders, path, poll)
    watched.thread.start()
    try:
        yield watched
    finally:
        watched.stop.set()
        watched.thread.join(SOON)
        assert not watched.thread.is_alive()


@pytest.mark.parametrize("poll", [0.1, None])
def test_an_index_follows_its_folder(tmp_path: Path, poll: float | None) -> None:
    if poll is None:
        pytest.importorskip("watchfiles")
    photos = tmp_path / "photos"
    write_pictures(photos / "deep", 2)
    write_picture(photos / "stays.bmp", 40)
    with watching_of([photos], tmp_path / "photos.itl", poll) as watched:
        watched.expect("embedded", photos / "deep" / "001.bmp")
        write_picture(photos / "new.bmp", 50)
        watched.expect("embedded", photos / "new.bmp")
        (photos / "deep").rename(photos / "moved in 2019.1")
        watched.expect("renamed", photos / "moved in 2019.1" / "000.bmp")
        (photos / "moved in 2019.1").rename(tmp_path / "moved away")
        watched.expect("removed", photos / "moved in 2019.1" / "001.bmp")
        (photos / "new.bmp").unlink()
        watched.expect("removed", photos / "new.bmp")
        (photos / "bad.jpg").write_bytes(b"Dear all")
        watched.expect("failed", photos / "bad.jpg")
        photos.rename(tmp_path / "unplugged")
        watched.wait(lambda: any("no such file or folder" in line for line in watched.said))
        (tmp_path / "unplugged").rename(photos)
        write_picture(photos / "back.bmp", 51)
        watched.expect("embedded", photos / "back.bmp")
    assert len(watched.changes) == len(set(watched.changes)) == 11
    assert_whole(Index.open(tmp_path / "photos.itl"), pictures_in(photos))


def test_a_file_that_grows_is_taken_when_it_stands_still(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_pictures(photos, 1)
    write_picture(tmp_path / "large.bmp", 50)
    content = (tmp_path / "large.bmp").read_bytes()
    with watching_of([photos], tmp_path / "photos.itl", 0.05) as watched:
        watched.expect("embedded", photos / "000.bmp")
        with (photos / "grows.bmp").open("wb") as file:
            for i in range(len(content)):
                file.write(content[i : i + 1])
                file.flush()
                time.sleep(0.01)
        watched.expect("embedded", photos / "grows.bmp")
    assert [change.kind for change in watched.changes] == ["embedded", "embedded"]


def test_an_index_that_is_not_there_yet_is_made_by_the_first_picture(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with watching_of([tmp_path / "photos"], tmp_path / "photos.itl", 0.1) as watched:
        watched.wait(lambda: any("no pictures in there" in line for line in watched.said))
        assert not (tmp_path / "photos.itl").exists()
        write_picture(tmp_path / "photos" / "first.bmp", 50)
        watched.expect("embedded", tmp_path / "photos" / "first.bmp")


def test_why_folders_are_looked_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path / "photos", 1)

    def said() -> str:
        with watching_of([tmp_path / "photos"], tmp_path / "photos.itl", None) as watched:
            watched.wait(lambda: watched.said)
        return watched.said[0]

    monkeypatch.setattr(watching, "is_on_network", lambda _: True)
    assert said().startswith(f"Looking every 30 seconds, as {tmp_path / 'photos'} is on a network drive")
    monkeypatch.setattr(watching, "is_on_network", lambda _: False)
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert said().endswith("as watchfiles is not installed: pip install 'itl-infer[watch]'")


def test_it_looks_where_the_system_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watchfiles = pytest.importorskip("watchfiles")
    errors: list[OSError] = [FileNotFoundError(2, "gone"), OSError("OS file watch limit reached")]

    def fail(*_: object, **__: object) -> Iterator[set[object]]:
        raise errors.pop(0)
        yield

    monkeypatch.setattr(watchfiles, "watch", fail)
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.1)
    write_pictures(tmp_path / "photos", 1)
    with watching_of([tmp_path / "photos"], tmp_path / "photos.itl", None) as watched:
        watched.wait(lambda: len(watched.said) == 2)
        write_picture(tmp_path / "photos" / "new.bmp", 50)
        watched.expect("embedded", tmp_path / "photos" / "new.bmp")
    assert (
        watched.said[1]
        == "Looking every 0.1 seconds, as the system does not tell (OS file watch limit reached)"
    )


def test_which_folders_are_on_the_network(tmp_path: Path) -> None:
    mounts = [("/", "ext4"), ("/mnt/nas", "nfs4"), ("/mnt/nas/usb", "vfat"), ("/mnt/far", "fuse.sshfs")]
    expected = {"/home": "ext4", "/mnt/nas/a": "nfs4", "/mnt/nasty": "ext4", "/mnt/nas/usb": "vfat"}
    assert {folder: kind_of_mount(folder, mounts) for folder in expected} == expected
    assert kind_of_mount("/mnt/far/a", mounts) == "nfs"
    assert not is_on_network(tmp_path) or shutil.disk_usage(tmp_path)  # whatever it is, it is found out
