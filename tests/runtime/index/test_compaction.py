"""What was dropped is given back, and readers lose nothing by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from itl_infer.index import Index, schema
from itl_infer.index.check import check_index
from itl_infer.index.upkeep import prune, read_status
from itl_infer.ingest import embed_directory
from tests.fake_bundle import EMBED_DIM, assert_whole, write_pictures


def test_prune_drops_what_is_gone_and_gives_back_the_space(
    index: Index, photos: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    write_pictures(other, 5, seed=100)
    (other / "bad.jpg").write_bytes(b"bad")
    embed_directory(other, index)
    shutil.rmtree(other)
    (photos / "003.bmp").unlink()
    assert prune(index.path) == (6, (str(other),))
    index.refresh()
    assert_whole(index, [str(path) for path in photos.iterdir()])
    assert [root.folder for root in index.roots] == [photos]
    assert read_status(index.path).failures == ()
    assert sorted(path.name for path in index.path.iterdir()) == [
        *("facts-000002.bin", "index.sqlite", "paths-000002.nul", "vectors-000002.f32", "writer.lock")
    ]
    assert (index.path / "vectors-000002.f32").stat().st_size == 11 * EMBED_DIM * 4


def test_pruning_makes_the_database_smaller(index: Index, tmp_path: Path) -> None:
    write_pictures(tmp_path / "many", 1600, seed=100)
    embed_directory(tmp_path / "many", index)
    before = (index.path / schema.DATABASE).stat().st_size
    shutil.rmtree(tmp_path / "many")
    prune(index.path)
    assert (index.path / schema.DATABASE).stat().st_size < before / 2


def test_compaction_when_a_quarter_is_gone(index: Index, photos: Path) -> None:
    for name in ("000.bmp", "005.bmp"):
        (photos / name).unlink()
    embed_directory(photos, index)
    assert index.state.generation == 1  # 2 of 12 are gone
    order = index.paths[:]
    (photos / "011.bmp").unlink()
    embed_directory(photos, index)
    assert (index.state.generation, index.state.rows) == (2, 9)
    assert [path for path in order if path != str(photos / "011.bmp")] != []
    assert_whole(index, [str(path) for path in photos.iterdir()])
    assert check_index(index.path).ok


def test_compaction_keeps_the_order_that_readers_saw(index: Index, photos: Path) -> None:
    (photos / "001.bmp").unlink()
    embed_directory(photos, index, exclude=["004*"])
    order, embeddings = index.paths[:], index.embeddings.copy()
    with index.writing() as writer:
        writer.compact()
    assert index.paths[:] == order
    np.testing.assert_array_equal(index.embeddings, embeddings)
    report = embed_directory(photos, index, no_exclude=True)
    assert (report.reused, report.embedded) == (1, 0)  # what was set aside was kept
    assert_whole(index)


def test_a_compaction_for_which_there_is_no_room_waits(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in list(photos.iterdir())[:6]:
        path.unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    embed_directory(photos, index)
    assert (index.state.generation, len(index)) == (1, 6)


def test_a_file_that_a_reader_keeps_open_is_removed_by_a_later_writer(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""

    def refuse(self: Path) -> None:
        raise PermissionError(13, "in use", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        prune(index.path)
    assert (index.path / "vectors-000001.f32").exists()
    embed_directory(photos, index)
    assert not (index.path / "vectors-000001.f32").exists()
