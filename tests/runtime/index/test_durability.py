"""What is committed is on the disk, and a full disk costs nothing of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from itl_infer import files
from itl_infer.errors import IndexStoreError
from itl_infer.index import Index, Picture
from itl_infer.index.check import check_index
from itl_infer.ingest import embed_directory
from tests.fake_bundle import EMBED_DIM, FakeBundle, assert_whole, write_pictures


def test_every_byte_is_on_the_disk_before_it_counts(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power loss, at its worst: of the files only what was synced is kept, the rest reads as zeros."""
    synced: dict[str, bytes] = {path.name: path.read_bytes() for path in index.path.glob("*-*")}
    real_sync = files.sync

    def sync(file) -> None:
        real_sync(file)
        synced[Path(file.name).name] = Path(file.name).read_bytes()

    def lose_power(copy: Path) -> None:
        shutil.copytree(index.path, copy)
        for path in copy.glob("*-*"):
            path.write_bytes(synced.get(path.name, b"").ljust(path.stat().st_size, b"\0"))
        assert check_index(copy).ok
        assert_whole(Index.open(copy, FakeBundle()))

    monkeypatch.setattr("itl_infer.index.disk.sync", sync)
    monkeypatch.setattr("itl_infer.index.compaction.sync", sync)
    write_pictures(photos / "more", 20, seed=100)
    embed_directory(photos, index, batch_size=3)
    lose_power(index.path.parent / "after-commits.itl")
    for path in list(photos.glob("*.bmp"))[:10]:
        path.unlink()
    embed_directory(photos, index)
    assert index.state.generation == 2
    lose_power(index.path.parent / "after-a-compaction.itl")


def test_commits_are_synced_to_the_disk(index: Index) -> None:
    with index.writing() as writer:
        assert writer.execute("PRAGMA synchronous") == [(3,)]  # EXTRA
        assert writer.execute("PRAGMA journal_mode") == [("delete",)]


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 600 kB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(mount)]
    if (
        sys.platform != "linux"
        or os.geteuid() != 0
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("only root can mount a small disk")
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


@pytest.mark.parametrize("room", [0, 1, 4000, 9000, 13000, 20000, 30000, 50000])
def test_a_full_disk_costs_nothing_that_was_committed(
    small_disk: Path, tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itl_infer.ingest.run.COMMIT_ROWS", 20)
    write_pictures(tmp_path / "photos", 30)
    index = Index.open(small_disk / "photos.itl", FakeBundle())
    embed_directory(tmp_path / "photos", index)
    paths = write_pictures(tmp_path / "photos", 800)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(max(shutil.disk_usage(small_disk).free - room, 0)))
    with pytest.raises(
        IndexStoreError, match=r"(full|No space).*: free some space and run again, all that was"
    ):
        embed_directory(tmp_path / "photos", index, batch_size=10)
    survivor = Index.open(index.path, FakeBundle())
    assert 30 <= len(survivor) < 800
    assert len(survivor) % 20 == 10  # whole commits
    assert_whole(survivor)
    filler.unlink()
    assert check_index(index.path).ok
    lost = 800 - len(survivor)
    assert embed_directory(tmp_path / "photos", survivor).embedded == lost
    assert_whole(survivor, paths)


def test_a_commit_that_failed_is_made_again_by_the_next(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    rows = np.eye(EMBED_DIM, dtype=np.float32)
    with index.writing() as writer:
        root = writer.add_root(tmp_path / "more")
        writer.add(Picture(root.id, b"first.bmp", 1, 1, b"1" * 16), rows[0])
        with monkeypatch.context() as patch:
            patch.setattr("itl_infer.index.schema.write_state", full)
            with pytest.raises(IndexStoreError, match="full"):
                writer.commit()
        writer.add(Picture(root.id, b"second.bmp", 1, 1, b"2" * 16), rows[1])
        writer.commit()
    again = Index.open(index.path, FakeBundle())
    assert [Path(path).name for path in again.paths[-2:]] == ["first.bmp", "second.bmp"]
    assert np.array_equal(again.embeddings[-2:], rows[:2])
    assert len(again) == 14
