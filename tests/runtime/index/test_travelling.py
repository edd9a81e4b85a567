"""Indexes are carried about as one likes, and read where nothing can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from itl_infer.errors import IndexStoreError
from itl_infer.index import Index, schema
from itl_infer.index.check import check_index
from itl_infer.index.upkeep import read_status
from itl_infer.ingest import embed_directory
from tests.fake_bundle import FakeBundle, assert_whole, write_pictures
from tests.runtime.index.helpers import files_of

# --- travelling


@pytest.mark.parametrize(
    ("index_at", "pictures_at"),
    [
        ("home/photos.itl", "home/photos"),  # side by side
        ("home/photos.itl", "home/of/mine/photos"),  # in the same folder, deeper
        ("home/photos/.index.itl", "home/photos"),  # inside
        ("home/bundle/index", "home/bundle/gallery"),
    ],
)
def test_an_index_travels_with_its_pictures(tmp_path: Path, index_at: str, pictures_at: str) -> None:
    write_pictures(tmp_path / pictures_at, 3)
    embed_directory(tmp_path / pictures_at, Index.open(tmp_path / index_at, FakeBundle()))
    assert os.fsencode(tmp_path) not in b"".join(data for _, data in files_of(tmp_path / index_at).values())
    (tmp_path / "home").rename(tmp_path / "elsewhere")
    moved = tmp_path / index_at.replace("home", "elsewhere")
    there = tmp_path / pictures_at.replace("home", "elsewhere")
    index = Index.open(moved, FakeBundle())
    assert_whole(index, [str(path) for path in there.glob("*.bmp")])
    report = embed_directory(there, index)
    assert (report.unchanged, report.embedded, report.renamed) == (3, 0, 0)


def test_pictures_elsewhere_are_found_however_the_index_moves(tmp_path: Path, photos: Path) -> None:
    index = Index.open(tmp_path / "a" / "photos.itl", FakeBundle())
    embed_directory(photos, index)
    (tmp_path / "b" / "c").mkdir(parents=True)
    index.path.rename(tmp_path / "b" / "c" / "photos.itl")
    assert_whole(Index.open(tmp_path / "b" / "c" / "photos.itl", mode="r"))


def test_an_index_may_be_opened_from_anywhere(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(index.path.parent)
    relative = Index.open("photos.itl", mode="r")
    monkeypatch.chdir("/")
    assert_whole(relative)


# --- read-only places


@pytest.fixture
def read_only(tmp_path: Path):
    """A function that makes a folder read-only, for the system administrator too."""
    mounts: list[Path] = []

    def make(folder: Path) -> Path:
        if os.geteuid() != 0:
            folder.chmod(0o555)
            return folder
        mount = tmp_path / "read-only"
        mount.mkdir()
        for options in (["--bind", folder, mount], ["-o", "remount,ro,bind", mount]):
            if subprocess.run(["mount", *options], capture_output=True).returncode != 0:
                pytest.skip("mounting is not allowed here")
            mounts.append(mount)
        return mount

    yield make
    for mount in set(mounts):
        subprocess.run(["umount", "--lazy", mount], check=True)


def test_reading_writes_nothing(index: Index) -> None:
    before = files_of(index.path)
    reader = Index.open(index.path, FakeBundle(), mode="r")
    reader.search("red")
    reader.refresh()
    read_status(index.path)
    check_index(index.path)
    after = files_of(index.path)
    del before["writer.lock"], after["writer.lock"]  # `check` holds it
    assert after == before


def test_a_read_only_file_system_can_be_searched_not_written(index: Index, photos: Path, read_only) -> None:
    folder = read_only(index.path)
    reader = Index.open(folder, FakeBundle(), mode="r")
    assert len(reader.search("red", 100)) == 12
    assert read_status(folder).pictures == 12
    assert check_index(folder).ok
    with pytest.raises(IndexStoreError, match="use an index that you may"):
        embed_directory(photos, Index.open(folder, FakeBundle()))


def test_what_a_killed_writer_left_is_played_back_even_where_nothing_can_be_written(
    index: Index,
    read_only,
) -> None:
    leave_hot_journal(index.path)
    folder = read_only(index.path)
    assert len(Index.open(folder, FakeBundle(), mode="r").search("red", 100)) == 12


def leave_hot_journal(folder: Path) -> None:
    """Kill a process in the middle of a transaction, when part of it is in the database file already."""
    script = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "connection.execute('BEGIN')\n"
        "connection.execute('UPDATE pictures SET state = 2')\n"
        "connection.execute('INSERT INTO failures SELECT 1, CAST(row AS BLOB), 0, 0, NULL,"
        " hex(zeroblob(20000)), 0 FROM pictures')\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", script, folder / schema.DATABASE], check=False)
    assert (folder / f"{schema.DATABASE}-journal").stat().st_size > 0
    assert (
        files_of(folder)[f"{schema.DATABASE}-journal"][1][:4] == b"\xd9\xd5\x05\xf9"
    )  # hot: its header is whole
