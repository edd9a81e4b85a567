"""One writer and many readers: each sees a state that was committed, whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from itl_infer.errors import IndexStoreError
from itl_infer.index import Index, snapshot
from itl_infer.index.upkeep import prune
from itl_infer.ingest import embed_directory
from tests.fake_bundle import FakeBundle, assert_whole, write_picture, write_pictures
from tests.places import ROOT


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
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
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
    subprocess.run([sys.executable, "-c", code, str(index.path)], cwd=ROOT, check=True)


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
        cwd=ROOT,
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

    def compact_then_map(*arguments: object, **options: object) -> snapshot.Snapshot:
        monkeypatch.setattr(snapshot, "_map", real_map)
        prune(index.path)
        return real_map(*arguments, **options)

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
