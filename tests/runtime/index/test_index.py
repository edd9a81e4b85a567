"""An index as one opens and searches it, and what it says of itself."""

from __future__ import annotations

import mmap
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from itl_infer.errors import IndexStoreError
from itl_infer.index import Index, schema
from itl_infer.index.paths import Layout
from itl_infer.index.upkeep import read_status, remembered_paths
from itl_infer.ingest import embed_directory
from tests.fake_bundle import EMBED_DIM, FakeBundle, assert_whole, write_picture, write_pictures


def base_of(array: np.ndarray) -> object:
    while isinstance(array.base, np.ndarray):
        array = array.base
    base = array.base
    return base.obj if isinstance(base, memoryview) else base


def test_a_new_index_is_empty_and_not_on_the_disk(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "new.itl", FakeBundle())
    assert index.embeddings.shape == (0, EMBED_DIM)
    assert list(index.paths) == []
    assert index.search("red") == []
    assert not index.path.exists()


def test_to_read_an_index_it_must_exist(tmp_path: Path) -> None:
    with pytest.raises(IndexStoreError, match=r"none\.itl: no index here: itl-infer embed-images"):
        Index.open(tmp_path / "none.itl", FakeBundle(), mode="r")
    with pytest.raises(IndexStoreError, match="no index here"):
        Index.open(tmp_path / "none.itl")  # nor made without a bundle


@pytest.mark.parametrize("name", ["photos", "file"])
def test_nothing_that_is_no_index_is_written_to(tmp_path: Path, photos: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(IndexStoreError, match=r"name .* that does not exist yet"):
        embed_directory(photos, Index.open(tmp_path / name, FakeBundle()))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_matrix_is_the_file_itself(index: Index) -> None:
    embeddings = index.embeddings
    assert embeddings.shape == (12, EMBED_DIM)
    assert embeddings.dtype == np.float32
    assert embeddings.flags.c_contiguous
    assert not embeddings.flags.writeable
    assert isinstance(base_of(embeddings), mmap.mmap)
    assert embeddings.tobytes() == (index.path / "vectors-000001.f32").read_bytes()


def test_paths_are_a_sequence_of_names(index: Index, photos: Path) -> None:
    assert index.paths[0] == str(photos / "000.bmp")
    assert index.paths[-1] == str(photos / "011.bmp")
    assert index.paths[2:4] == [str(photos / "002.bmp"), str(photos / "003.bmp")]
    assert len(index.paths) == len(index) == 12
    with pytest.raises(IndexError):
        index.paths[12]


def test_search_gives_rank_score_and_path(index: Index) -> None:
    results = index.search("green", k=5)
    cosines = index.embeddings[:, 1]
    assert [result.rank for result in results] == [1, 2, 3, 4, 5]
    assert [result.path for result in results] == [index.paths[i] for i in np.argsort(-cosines)[:5].tolist()]
    assert [result.score for result in results] == np.sort(cosines)[::-1][:5].tolist()
    assert len(index.search("green", k=100)) == 12


def test_a_query_gives_the_same_alone_and_among_others(index: Index) -> None:
    queries = index.bundle.embed_texts(["red", "green", "blue"] * 100)
    assert index.search_many(queries, 7) == [index.search(query, 7) for query in queries]
    assert index.search_many(queries[:0], 7) == []


def test_removed_rows_leave_no_gap(index: Index, photos: Path) -> None:
    for name in ("003.bmp", "011.bmp"):  # in the middle, and at the end
        (photos / name).unlink()
    embed_directory(photos, index)
    assert (index.path / "vectors-000001.f32").stat().st_size == 12 * EMBED_DIM * 4  # not compacted yet
    assert index.embeddings.flags.c_contiguous
    assert not index.embeddings.flags.writeable
    assert_whole(index, [str(path) for path in photos.iterdir()])


@pytest.mark.parametrize("hidden", [[], [0], [4], [0, 1, 2, 3, 4], [1, 3], [0, 3, 4], [2, 3, 4]])
def test_a_layout_shows_every_live_row_once(hidden: list[int]) -> None:
    layout = Layout.around(np.array(hidden, np.int64), 5)
    assert sorted(layout.rows().tolist()) == sorted({0, 1, 2, 3, 4} - set(hidden))
    assert [layout.row_at(i) for i in range(layout.live)] == layout.rows().tolist()


def test_opening_a_million_rows_takes_no_time_and_no_memory(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "big.itl", FakeBundle())
    write_picture(tmp_path / "a.bmp", 0)
    embed_directory(tmp_path / "a.bmp", index)
    rows, names = 1_000_000, b"".join(b"1/%06d.jpg\0" % i for i in range(1_000_000))
    with (index.path / "vectors-000001.f32").open("r+b") as file:
        file.truncate(rows * 128 * 4)  # zeros that take no room
    (index.path / "paths-000001.nul").write_bytes(names)
    with sqlite3.connect(index.path / schema.DATABASE) as connection:
        connection.execute("UPDATE state SET rows = ?, paths_bytes = ?, embed_dim = 128", (rows, len(names)))
    connection.close()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        big = Index.open(index.path)
        seconds.append(time.perf_counter() - start)
    assert big.embeddings.shape == (rows, 128)
    assert isinstance(base_of(big.embeddings), mmap.mmap)
    assert big.paths[999_999].endswith("999999.jpg")
    assert min(seconds) < 0.05


def test_status(index: Index, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"bad")
    (photos / "000.bmp").unlink()
    embed_directory(photos, index, exclude=["01*"])
    shutil.rmtree(photos)
    status = read_status(index.path)
    assert (status.pictures, status.set_aside, status.gone) == (9, 2, 1)
    assert status.roots == ((str(photos), 9, True, False),)
    assert status.failures == (
        (
            str(photos / "bad.jpg"),
            "not a JPEG, PNG, WebP, GIF, TIFF, BMP, JPEG 2000, AVIF, HEIC, JPEG XL or RAW picture",
        ),
    )
    assert status.state.bundle_name == "fake"
    assert status.bytes_on_disk == sum(path.stat().st_size for path in index.path.iterdir())
    with pytest.raises(IndexStoreError, match="no index here"):
        read_status(tmp_path / "none.itl")


def test_what_was_embedded_is_remembered(index: Index, photos: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "others", 3, seed=100)
    embed_directory(tmp_path / "others" / "001.bmp", index)
    assert remembered_paths(index.path) == [str(photos), str(tmp_path / "others" / "001.bmp")]
    embed_directory(tmp_path / "others", index)
    assert remembered_paths(index.path) == [str(photos), str(tmp_path / "others")]
