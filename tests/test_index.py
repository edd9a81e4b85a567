"""What an index on disk promises: nothing lost, one writer, many readers, carried about as one likes."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from itl_infer import files
from itl_infer.errors import FolderError, IndexStoreError, MissingExtraError
from itl_infer.index import Index, Picture, schema, snapshot
from itl_infer.index.check import check_index
from itl_infer.index.export import export_index
from itl_infer.index.snapshot import Layout
from itl_infer.index.upkeep import prune, read_status, remembered_paths
from itl_infer.ingest import embed_again, embed_directory
from tests.fake_bundle import EMBED_DIM, FakeBundle, assert_whole, write_picture, write_pictures


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures."""
    write_pictures(tmp_path / "photos", 12)
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path: Path, photos: Path) -> Index:
    """An index of them, beside them."""
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    embed_directory(photos, index)
    return index


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def base_of(array: np.ndarray) -> object:
    while isinstance(array.base, np.ndarray):
        array = array.base
    base = array.base
    return base.obj if isinstance(base, memoryview) else base


# --- opening and searching


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


# --- one writer, many readers


def test_a_second_writer_is_told_at_once(index: Index, photos: Path) -> None:
    other = Index.open(index.path, FakeBundle())
    with index.writing():
        start = time.monotonic()
        with pytest.raises(IndexStoreError, match=f"being written to by process {os.getpid()}.*--wait"):
            embed_directory(photos, other)
        assert time.monotonic() - start < 2
    embed_directory(photos, other)


def test_a_second_writer_may_wait(index: Index, photos: Path) -> None:
    other = Index.open(index.path, FakeBundle())
    write_picture(photos / "new.bmp", 99)
    with index.writing():
        waiting = threading.Thread(target=embed_directory, args=(photos, other), kwargs={"wait": True})
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive()
    waiting.join(10)
    assert len(other) == 13


_WRITER = """
import sys
from itl_infer.index import Index
from tests.fake_bundle import FakeBundle
with Index.open(sys.argv[1], FakeBundle()).writing():
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_two_writing_processes(index: Index, photos: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(index.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    ) as other:
        assert other.stdout.readline() == b"writing\n"
        with pytest.raises(IndexStoreError, match=f"by process {other.pid}"):
            embed_directory(photos, index)
        assert (
            len(Index.open(index.path, FakeBundle(), mode="r").search("red")) == 10
        )  # readers need not wait
        other.kill()  # the system frees its lock
    embed_directory(photos, index)


def test_a_reader_does_without_the_writer(index: Index) -> None:
    code = (
        "import sys\nfrom itl_infer.index import Index\n"
        "assert Index.open(sys.argv[1], mode='r').search_many([[1] + 7 * [0]])[0]\n"
        "assert 'itl_infer.index.writer' not in sys.modules\n"
        "from itl_infer.index import Writer\n"
    )
    subprocess.run([sys.executable, "-c", code, str(index.path)], cwd=Path(__file__).parents[1], check=True)


def test_a_snapshot_outlives_what_a_writer_does(index: Index, photos: Path) -> None:
    reader = Index.open(index.path, FakeBundle(), mode="r")
    paths, embeddings, found = reader.paths[:], reader.embeddings.copy(), reader.search("red")
    for path in list(photos.iterdir())[:8]:
        path.unlink()
    write_pictures(photos / "more", 20, seed=100)
    embed_directory(photos, index)  # appends, drops and compacts
    assert index.state.generation == 2
    assert reader.paths[:] == paths
    np.testing.assert_array_equal(reader.embeddings, embeddings)
    assert reader.search("red") == found
    reader.refresh()
    assert_whole(reader, [str(path) for path in photos.rglob("*.bmp")])


def test_readers_in_threads_and_processes_see_whole_states(index: Index, photos: Path) -> None:
    """A writer adds and drops ten pictures at a time; what a reader sees must be one of its states."""
    script = (
        "import sys\nfrom itl_infer.index import Index\nfrom tests.fake_bundle import FakeBundle\n"
        "while True:\n"
        "    index = Index.open(sys.argv[1], FakeBundle(), mode='r')\n"
        "    assert len(index) % 10 == 2, len(index)\n"
        "    assert len(set(index.paths)) == len(index.search('red', 1000)) == len(index)\n"
        "    print(len(index), flush=True)\n"
    )
    failures, stop = [], threading.Event()

    def read() -> None:
        shared = Index.open(index.path, FakeBundle(), mode="r")
        while not stop.is_set():
            try:
                shared.refresh()
                results = shared.search("blue", 1000)
                assert len(results) % 10 == 2
                assert len({result.path for result in results}) == len(results)
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(2)]
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(index.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    try:
        assert process.stdout.readline()
        for thread in threads:
            thread.start()
        for turn in range(12):
            shutil.rmtree(photos / "more", ignore_errors=True)
            if turn % 3 < 2:
                write_pictures(photos / "more", 10 + 10 * (turn % 3), seed=100 * turn)
            embed_directory(photos, index)
        assert process.poll() is None
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
        process.kill()
        _, errors = process.communicate()
    assert failures == []
    assert errors == b""


def test_a_compaction_between_reading_the_database_and_the_files(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_map = snapshot._map

    def compact_then_map(*arguments: object) -> snapshot.Snapshot:
        monkeypatch.setattr(snapshot, "_map", real_map)
        prune(index.path)
        return real_map(*arguments)

    monkeypatch.setattr(snapshot, "_map", compact_then_map)
    reader = Index.open(index.path, FakeBundle(), mode="r")
    assert reader.state.generation == 2
    assert_whole(reader)


def test_a_commit_waits_until_a_reader_has_read_it_all(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "003.bmp").unlink()
    writing = threading.Thread(target=embed_directory, args=(photos, index))
    real_read = snapshot.read_roots

    def read_while_another_writes(*arguments: object) -> object:
        monkeypatch.setattr(snapshot, "read_roots", real_read)
        writing.start()
        writing.join(0.3)
        return real_read(*arguments)

    monkeypatch.setattr(snapshot, "read_roots", read_while_another_writes)
    assert len(Index.open(index.path, mode="r")) == 12
    writing.join(10)
    assert len(Index.open(index.path, mode="r")) == 11


# --- bundles and formats


def test_another_bundle_is_refused_with_the_way_out(index: Index) -> None:
    with pytest.raises(IndexStoreError, match=r"made with bundle 'fake' .* not with 'other' .*--rebuild"):
        Index.open(index.path, FakeBundle("other"))


def test_rebuild_binds_to_another_bundle(index: Index, photos: Path) -> None:
    (photos / "bad.bmp").write_bytes(b"bad")
    embed_directory(photos, index)
    write_pictures(photos.parent / "others", 3, seed=100)
    embed_directory(photos.parent / "others" / "001.bmp", index)  # a single file, not its neighbours
    write_picture(photos.parent / "more" / "new.bmp", 200)
    rebuilt, report = embed_again(index.path, FakeBundle("other"), [photos.parent / "more"])
    assert rebuilt.state.bundle_name == "other"
    assert (report.embedded, len(report.failed)) == (14, 1)
    others = [photos.parent / "others" / "001.bmp", photos.parent / "more" / "new.bmp"]
    assert_whole(rebuilt, [str(path) for path in [*photos.glob("0*"), *others]])
    with pytest.raises(IndexStoreError, match="made with bundle 'other'"):
        index.refresh()


def test_rebuild_loses_no_folder_that_is_not_there(tmp_path: Path, index: Index, photos: Path) -> None:
    photos.rename(tmp_path / "unplugged")
    with pytest.raises(IndexStoreError, match=r"photos is missing .* nothing was changed: .*--prune"):
        Index.rebuild(index.path, FakeBundle("other"))
    with pytest.raises(FolderError, match="typo: no such file or folder"):
        embed_again(index.path, FakeBundle("other"), [tmp_path / "typo"])
    assert len(Index.open(index.path, FakeBundle())) == 12
    assert Index.rebuild(index.path, FakeBundle("other"), prune=True).roots == []


def test_a_newer_format_is_refused(index: Index, photos: Path) -> None:
    with sqlite3.connect(index.path / schema.DATABASE) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    for use in (
        lambda: Index.open(index.path),
        lambda: embed_directory(photos, index),
        lambda: prune(index.path),
    ):
        with pytest.raises(IndexStoreError, match=r"index format 2, .* reads up to 1: upgrade itl-infer"):
            use()


def test_an_older_format_is_brought_up_to_date(
    index: Index, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "FORMAT_VERSION", 3)
    steps = ("ALTER TABLE failures ADD COLUMN two", "ALTER TABLE failures ADD COLUMN three;\nnot SQL at all")
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    with pytest.raises(IndexStoreError, match="syntax error"):
        embed_directory(photos, index)
    assert _columns(index, "failures")[-1] == "max_megapixels"  # all the way or not at all
    monkeypatch.setattr(schema, "MIGRATIONS", (steps[0], "ALTER TABLE failures ADD COLUMN three"))
    embed_directory(photos, index)
    assert _columns(index, "failures")[-2:] == ["two", "three"]
    with schema.reading(index.path) as connection:
        assert schema.require_version(connection, index.path) == 3


def _columns(index: Index, table: str) -> list[str]:
    with schema.reading(index.path) as connection:
        return [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]


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


# --- status, prune, check, export


def test_status(index: Index, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"bad")
    (photos / "000.bmp").unlink()
    embed_directory(photos, index, exclude=["01*"])
    shutil.rmtree(photos)
    status = read_status(index.path)
    assert (status.pictures, status.set_aside, status.gone) == (9, 2, 1)
    assert status.roots == ((str(photos), 9, True),)
    assert status.failures == ((str(photos / "bad.jpg"), "not a JPEG, PNG, WebP, GIF, TIFF or BMP picture"),)
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
        *("index.sqlite", "paths-000002.nul", "vectors-000002.f32", "writer.lock")
    ]
    assert (index.path / "vectors-000002.f32").stat().st_size == 11 * EMBED_DIM * 4


def test_pruning_makes_the_database_smaller(index: Index, tmp_path: Path) -> None:
    write_pictures(tmp_path / "many", 500, seed=100)
    embed_directory(tmp_path / "many", index)
    before = (index.path / schema.DATABASE).stat().st_size
    shutil.rmtree(tmp_path / "many")
    prune(index.path)
    assert (index.path / schema.DATABASE).stat().st_size < before / 2


def test_a_database_that_may_not_be_opened_is_not_called_damaged(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(IndexStoreError, match="unable to open database file: use an index that you may read"):
        check_index(index.path, repair=True)


def test_check_finds_nothing_wrong_with_a_good_index(index: Index) -> None:
    report = check_index(index.path)
    assert (report.ok, report.rows, report.problems) == (True, 12, [])


def test_check_finds_embeddings_that_are_no_unit_vectors(index: Index) -> None:
    with index.writing() as writer:
        for name, length in ((b"000.bmp", 1.01), (b"001.bmp", np.nan), (b"002.bmp", 1.0001)):
            writer.add(Picture(1, name, 102, 0, b"digest"), index.embeddings[0] * np.float32(length))
        writer.commit()
    report = check_index(index.path)
    assert report.problems == [f"row {row} ({row - 12:03}.bmp) is not of unit length" for row in (12, 13)]
    assert report.damaged_rows == [12, 13]


def _spoil(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _spoil_record(folder: Path, sql: str) -> None:
    with sqlite3.connect(folder / schema.DATABASE) as connection:
        connection.execute(sql)
    connection.close()


_DAMAGES = {
    "a vector": (
        lambda f: _spoil(f / "vectors-000001.f32", 3 * 32 + 5, b"\xff"),
        1,
        "row 3 (003.bmp) does not match",
    ),
    "the last vectors": (lambda f: os.truncate(f / "vectors-000001.f32", 10 * 32), 2, "holds 10 of 12 rows"),
    "all vectors": (lambda f: (f / "vectors-000001.f32").unlink(), 12, "holds 0 of 12 rows"),
    "a name": (lambda f: _spoil(f / "paths-000001.nul", 3, b"x"), 0, "1 names are not those on record"),
    "the end of a name": (
        lambda f: _spoil(f / "paths-000001.nul", 9, b"x"),
        0,
        "names are not those on record",
    ),
    "all names": (lambda f: (f / "paths-000001.nul").unlink(), 0, "holds 0 of"),
    "a path on record": (
        lambda f: _spoil_record(f, "UPDATE pictures SET path = CAST('x.bmp' AS BLOB) WHERE row = 5"),
        1,
        "row 5 (x.bmp) does not match",
    ),
    "a type on record": (
        lambda f: _spoil_record(f, "UPDATE pictures SET path = 7 WHERE row = 5"),
        1,
        "row 5 (?) has no proper record",
    ),
    "a root on record": (
        lambda f: _spoil_record(f, "UPDATE pictures SET root = 9 WHERE row = 5"),
        1,
        "row 5 (005.bmp) belongs",
    ),
    "a missing record": (
        lambda f: _spoil_record(f, "DELETE FROM pictures WHERE row = 5"),
        1,
        "11 records for 12",
    ),
}


@pytest.mark.parametrize("damage", _DAMAGES)
def test_check_finds_damage_and_repair_drops_that_and_nothing_else(
    index: Index, photos: Path, damage: str
) -> None:
    spoil, lost, message = _DAMAGES[damage]
    spoil(index.path)
    report = check_index(index.path)
    assert not report.ok
    assert message in "\n".join(report.problems)
    check_index(index.path, repair=True)
    assert check_index(index.path).ok
    repaired = Index.open(index.path, FakeBundle())
    assert_whole(repaired)
    assert len(repaired) == 12 - lost
    report = embed_directory(photos, repaired)
    assert (report.embedded, report.unchanged) == (lost, 12 - lost)


def test_an_index_whose_files_were_cut_short_says_how_to_mend(index: Index) -> None:
    os.truncate(index.path / "vectors-000001.f32", 100)
    with pytest.raises(IndexStoreError, match=r"vectors-000001\.f32: 100 bytes where 384 .*check --repair"):
        Index.open(index.path)
    for name in ("vectors-000001.f32", "paths-000001.nul"):
        with (index.path / name).open("rb") as kept:
            (index.path / name).unlink()
            with pytest.raises(IndexStoreError, match=f"{name}: missing: copy it back .*check --repair"):
                Index.open(index.path)
            (index.path / name).write_bytes(kept.read().ljust(384, b"\0"))


def test_a_damaged_vector_is_not_passed_on(index: Index, photos: Path) -> None:
    _spoil(index.path / "vectors-000001.f32", 3 * 32 + 5, b"\xff")
    shutil.copy(photos / "003.bmp", photos / "copy.bmp")
    with pytest.raises(IndexStoreError, match="row 3 is damaged: itl-infer check --repair"):
        embed_directory(photos, index)


def test_what_can_be_read_of_a_damaged_database_is_salvaged(tmp_path: Path) -> None:
    """Each page of the database is spoiled in turn; a page holds about 50 records."""
    paths = write_pictures(tmp_path / "photos", 200)
    good = Index.open(tmp_path / "good.itl", FakeBundle())
    embed_directory(tmp_path / "photos", good)
    pages = (good.path / schema.DATABASE).stat().st_size // 4096
    lost, beyond_repair = [], 0
    for page in range(pages):
        folder = tmp_path / f"{page}.itl"
        shutil.copytree(good.path, folder)
        _spoil(folder / schema.DATABASE, page * 4096, bytes(64 if page else 16) + b"x" * 64)
        assert not check_index(folder).ok
        try:
            check_index(folder, repair=True)
        except IndexStoreError as error:
            assert "beyond repair" in str(error)  # noqa: PT017 (most pages are not)
            beyond_repair += 1
            continue
        assert check_index(folder).ok
        repaired = Index.open(folder, FakeBundle())
        lost.append(200 - len(repaired))
        assert embed_directory(tmp_path / "photos", repaired).embedded == lost[-1]
        assert_whole(repaired, paths)
    assert beyond_repair <= 3  # the schema, the state, the roots
    *partly, most = sorted(lost)
    assert most == 200  # the one page that leads to all records
    assert max(partly) < 100
    assert 150 < sum(partly) <= 200  # each record once; what only speeds things up is made anew


def test_vectors_without_their_database_are_not_written_over(index: Index, photos: Path) -> None:
    database = (index.path / schema.DATABASE).rename(photos.parent / "database")
    with pytest.raises(
        IndexStoreError, match=r"index\.sqlite is missing: copy it back .*, or move the folder"
    ):
        embed_directory(photos, Index.open(index.path, FakeBundle()))
    database.rename(index.path / schema.DATABASE)
    assert_whole(Index.open(index.path, FakeBundle()), [str(path) for path in photos.iterdir()])


def test_a_database_that_is_no_more_is_beyond_repair(index: Index) -> None:
    (index.path / schema.DATABASE).write_bytes(os.urandom(8192))
    with pytest.raises(IndexStoreError, match="check --repair"):
        Index.open(index.path)
    with pytest.raises(IndexStoreError, match="beyond repair"):
        check_index(index.path, repair=True)


def test_check_waits_for_no_writer_unless_told(index: Index) -> None:
    with index.writing(), pytest.raises(IndexStoreError, match="being written to"):
        check_index(index.path)


def test_export_npy(index: Index, tmp_path: Path) -> None:
    written = export_index(index, tmp_path / "out.npy", "npy")
    assert written == [tmp_path / "out.npy", tmp_path / "out.paths.json"]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), index.embeddings)
    assert json.loads((tmp_path / "out.paths.json").read_bytes()) == index.paths[:]


def test_export_jsonl(index: Index, tmp_path: Path) -> None:
    export_index(index, tmp_path / "out.jsonl", "jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == index.paths[:]
    np.testing.assert_array_equal(
        np.array([line["embedding"] for line in lines], np.float32), index.embeddings
    )


def test_export_parquet(index: Index, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export_index(index, tmp_path / "out.parquet", "parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table["path"].to_pylist() == index.paths[:]
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), index.embeddings)


def test_export_names_the_extra_that_is_missing(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'itl-infer\[parquet\]'"):
        export_index(index, tmp_path / "out.parquet", "parquet")


def test_a_failed_export_leaves_what_was_there(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.jsonl").write_text("before")
    monkeypatch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_index(index, tmp_path / "out.jsonl", "jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "before"
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(IndexStoreError, match="name a file that can be written"):
        export_index(index, tmp_path / "none" / "out.npy", "npy")


# --- compaction and durability


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
    report = embed_directory(photos, index)
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
    """A file system of 300 kB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(mount)]
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
