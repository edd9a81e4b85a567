"""An index from elsewhere, or one that a disk has damaged: one line that says the mend, nothing run, nothing lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from itl_infer.errors import IndexStoreError
from itl_infer.index import Index, schema
from itl_infer.index.check import check_index
from itl_infer.index.upkeep import prune, read_status, remembered_paths
from itl_infer.ingest import embed_directory
from tests.fake_bundle import FakeBundle, assert_whole, write_picture
from tests.places import ROOT

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")


def _looks(folder: Path, photos: Path) -> dict[str, Callable[[], object]]:
    """Everything that opens an index."""
    return {
        "search": lambda: Index.open(folder, FakeBundle(), mode="r").search("red"),
        "status": lambda: read_status(folder),
        "remembered": lambda: remembered_paths(folder),
        "check": lambda: check_index(folder).ok or _refuse("--repair"),
        "embed": lambda: embed_directory(photos, Index.open(folder, FakeBundle())),
        "prune": lambda: prune(folder),
    }


def _refuse(reason: str) -> None:
    raise IndexStoreError(reason)


def _execute(folder: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / schema.DATABASE)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


_FOREIGN = {
    "a view that never ends": (
        "ALTER TABLE state RENAME TO s0",
        "CREATE VIEW state AS SELECT * FROM s0 WHERE (WITH RECURSIVE r(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM r)"
        " SELECT count(*) FROM r) > 0",
    ),
    "a view of pictures": (
        "DROP INDEX picture_at",
        "DROP INDEX picture_with",
        "DROP INDEX picture_hidden",
        "ALTER TABLE pictures RENAME TO p0",
        "CREATE VIEW pictures AS SELECT * FROM p0",
    ),
    "one more view": ("CREATE VIEW more AS SELECT * FROM pictures",),
    "a trigger": ("CREATE TRIGGER t AFTER UPDATE ON pictures BEGIN DELETE FROM roots; END",),
    "an index with a function": ("CREATE INDEX i ON pictures(hex(zeroblob(size)))",),
    "a column more": ("ALTER TABLE roots ADD COLUMN more",),
    "no index where one belongs": ("DROP INDEX picture_with",),
    "a table less": ("DROP TABLE failures",),
}


@pytest.mark.parametrize("foreign", _FOREIGN)
def test_what_is_not_our_tables_is_refused_and_repaired(index: Index, photos: Path, foreign: str) -> None:
    _execute(index.path, *_FOREIGN[foreign])
    for look in _looks(index.path, photos).values():
        with pytest.raises(IndexStoreError, match="--repair"):
            look()
    check_index(index.path, repair=True)
    assert check_index(index.path).ok
    assert_whole(Index.open(index.path, FakeBundle()), [str(path) for path in photos.iterdir()])


def test_a_table_of_a_later_version_is_left_alone(index: Index) -> None:
    _execute(index.path, "CREATE TABLE later (name TEXT)", "CREATE INDEX later_name ON later(name)")
    assert check_index(index.path).ok
    assert len(Index.open(index.path, FakeBundle()).search("red")) == 10


_STATES = (
    "DELETE FROM state",
    "INSERT INTO state SELECT * FROM state",
    *(
        f"UPDATE state SET {name} = {value}"
        for name in ("generation", "rows", "paths_bytes")
        for value in (-5, "'abc'")
    ),
    *(f"UPDATE state SET embed_dim = {value}" for value in (0, -1, 10**15, "x'00'", 4)),
    "UPDATE state SET embed_dim = 4, rows = 24",
    "UPDATE state SET rows = 9223372036854775807",
    "UPDATE state SET rows = 549755813888",
    "UPDATE state SET bundle_name = x'ff'",
    "UPDATE state SET bundle_fingerprint = CAST(x'ff' AS TEXT)",
    "UPDATE roots SET location = x'2f00'",
    "UPDATE roots SET location = '/text'",
    "UPDATE roots SET location = x'2f746d70'",
    "UPDATE roots SET is_whole = 0",
    "UPDATE roots SET id = 7",
    "DELETE FROM roots",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = 300",
)


@pytest.mark.parametrize("statement", _STATES)
def test_what_no_writer_wrote_is_one_line_and_repaired(index: Index, photos: Path, statement: str) -> None:
    _execute(index.path, statement)
    for name, look in _looks(index.path, photos).items():
        with contextlib.suppress(IndexStoreError):
            look()
            if name == "check":
                pytest.fail("the check found nothing")
    check_index(index.path, repair=True)
    assert check_index(index.path).ok
    assert_whole(Index.open(index.path, FakeBundle()), [str(path) for path in photos.iterdir()])


@pytest.mark.parametrize("offset", [0, 7, 16, 17, 18, 19, 21, 44, 52, 56, 60, 63, 96, 100, 103, 105])
def test_a_byte_of_the_head_of_the_database(index: Index, photos: Path, offset: int) -> None:
    with (index.path / schema.DATABASE).open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x55]))
    for look in _looks(index.path, photos).values():
        with contextlib.suppress(IndexStoreError):
            look()
    check_index(index.path, repair=True)
    assert check_index(index.path).ok
    assert_whole(Index.open(index.path, FakeBundle()), [str(path) for path in photos.iterdir()])


@pytest.mark.parametrize("part", ["vectors-000001.f32", "paths-000001.nul"])
def test_an_answer_has_no_row_that_is_damaged(index: Index, part: str) -> None:
    kept = Index.open(index.path, FakeBundle())
    damaged = kept.search("red", 1)[0]
    row = kept.paths[:].index(damaged.path)
    with (index.path / part).open("r+b") as file:
        file.seek(
            row * 32 + 1 if part.endswith("f32") else file.read().index(Path(damaged.path).name.encode())
        )
        file.write(b"\x01")
    with pytest.raises(IndexStoreError, match=f"row {row} is damaged: itl-infer check --repair"):
        Index.open(index.path, FakeBundle()).search("red")
    check_index(index.path, repair=True)
    assert len(Index.open(index.path, FakeBundle()).search("red", 100)) == 12 - part.endswith("f32")


def test_a_row_that_is_no_number_is_damaged_too(index: Index) -> None:
    with (index.path / "vectors-000001.f32").open("r+b") as file:
        file.write(b"\xff" * 32)
    with pytest.raises(IndexStoreError, match="check --repair"):
        Index.open(index.path, FakeBundle()).search("red")


def test_a_row_that_is_gone_is_checked_and_dropped(index: Index, photos: Path) -> None:
    (photos / "000.bmp").rename(photos.parent / "away")
    embed_directory(photos, index)
    with (index.path / "vectors-000001.f32").open("r+b") as file:
        file.write(b"damage")
    assert check_index(index.path).problems == ["row 0 (000.bmp) does not match its checksum"]
    check_index(index.path, repair=True)
    (photos.parent / "away").rename(photos / "000.bmp")
    assert embed_directory(photos, Index.open(index.path, FakeBundle())).embedded == 1
    assert check_index(index.path).ok


@pytest.mark.parametrize("name", ["", "..", "../secret", "a/../../secret", "/secret", "a//b", "a/", "./a"])
def test_a_name_that_leads_elsewhere(index: Index, name: str) -> None:
    from itl_infer.index.rows import RECORDS, as_records, checksum

    path = name.encode()
    with contextlib.closing(sqlite3.connect(index.path / schema.DATABASE)) as connection, connection:
        [record] = as_records(connection.execute(f"{RECORDS} WHERE row = 11"))
        picture = record.picture._replace(path=path)
        crc = checksum(picture, index.embeddings[11].tobytes())
        connection.execute("UPDATE pictures SET path = ?, crc = ? WHERE row = 11", (path, crc))
        names = (index.path / "paths-000001.nul").read_bytes().split(b"\0")[:11]
        content = b"".join(each + b"\0" for each in [*names, b"1/" + path])
        (index.path / "paths-000001.nul").write_bytes(content)
        connection.execute("UPDATE state SET paths_bytes = ?", (len(content),))
    with pytest.raises(IndexStoreError, match="leads elsewhere"):
        Index.open(index.path, FakeBundle()).search("red", 100)
    with pytest.raises(IndexStoreError, match="leads elsewhere"):
        prune(index.path)


@posix
@pytest.mark.parametrize("name", [schema.DATABASE, schema.LOCK, "vectors-000001.f32", "paths-000001.nul"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder", "second name"])
def test_what_is_no_plain_file_is_not_opened(index: Index, photos: Path, name: str, kind: str) -> None:
    victim = photos.parent / "victim"
    path = index.path / name
    content = path.read_bytes() or b"the only key"
    victim.write_bytes(content)
    path.unlink()
    {
        "link": lambda: path.symlink_to(victim),
        "dangling link": lambda: path.symlink_to(photos.parent / "nowhere"),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "second name": lambda: os.link(victim, path),
    }[kind]()
    write_picture(photos / "new.bmp", 99)
    for action in (lambda: check_index(index.path), lambda: check_index(index.path, repair=True)):
        with contextlib.suppress(IndexStoreError):
            action()
    with pytest.raises(IndexStoreError, match=r"link|plain file"):
        embed_directory(photos, Index.open(index.path, FakeBundle()))
    with contextlib.suppress(IndexStoreError):
        Index.open(index.path, FakeBundle()).search("red")
    assert victim.read_bytes() == content
    assert not (photos.parent / "nowhere").exists()


@posix
def test_the_next_generation_is_not_written_through_a_link(index: Index, photos: Path) -> None:
    victim = photos.parent / "victim"
    victim.write_bytes(b"thesis")
    for name in ("vectors-000002.f32", "paths-000002.nul"):
        (index.path / name).symlink_to(victim)
    with index.writing() as writer:
        for name in ("vectors-000002.f32", "paths-000002.nul"):
            (index.path / name).unlink(missing_ok=True)
            (index.path / name).symlink_to(victim)
        writer.compact()
    assert victim.read_bytes() == b"thesis"
    assert check_index(index.path).ok


def test_a_journal_that_names_another_file_does_not_remove_it(index: Index, photos: Path) -> None:
    """SQLite removes the file that a journal of several databases names, once it is played back."""
    victim = photos.parent / "victim"
    victim.write_bytes(b"thesis")
    name = os.fsencode(victim)
    journal = (
        bytes.fromhex("d9d505f920a163d7") + bytes(504) + (0x40000000 // 4096 + 1).to_bytes(4, "big") + name
    )
    total = sum(byte - 256 if byte > 127 else byte for byte in name) % 2**32
    journal += len(name).to_bytes(4, "big") + total.to_bytes(4, "big") + journal[:8]
    (index.path / f"{schema.DATABASE}-journal").write_bytes(journal)
    for look in _looks(index.path, photos).values():
        with pytest.raises(IndexStoreError, match="names another file"):
            look()
    with pytest.raises(IndexStoreError, match="names another file"):
        check_index(index.path, repair=True)
    assert victim.read_bytes() == b"thesis"


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, None])
def test_an_empty_database_beside_vectors_is_never_started_over(
    index: Index, photos: Path, content: bytes | None
) -> None:
    database, vectors = index.path / schema.DATABASE, (index.path / "vectors-000001.f32").read_bytes()
    backup = database.read_bytes()
    database.unlink() if content is None else database.write_bytes(content)
    for look in _looks(index.path, photos).values():
        with pytest.raises(IndexStoreError, match=r"copy it back|check --repair|--repair"):
            look()
    with pytest.raises(IndexStoreError, match=r"copy it back|beyond repair"):
        check_index(index.path, repair=True)
    with pytest.raises(IndexStoreError):
        Index.rebuild(index.path, FakeBundle("other"))
    assert (index.path / "vectors-000001.f32").read_bytes() == vectors
    database.write_bytes(backup)
    assert check_index(index.path).ok


def test_a_check_writes_nothing(index: Index) -> None:
    (index.path / schema.LOCK).unlink()
    before = _content(index.path)
    check_index(index.path)
    with (index.path / "vectors-000001.f32").open("r+b") as file:
        file.write(b"damage")
    spoiled = _content(index.path)
    assert not check_index(index.path).ok
    assert before.keys() == _content(index.path).keys()
    assert _content(index.path) == spoiled


@posix
def test_a_check_of_a_full_disk(index: Index) -> None:
    """No file may grow, as on a full disk: not even one that was cut off in a commit is played back."""
    code = (
        "import resource, sys\nfrom itl_infer.index.check import check_index\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\nassert check_index(sys.argv[1]).ok\n"
    )
    subprocess.run([sys.executable, "-c", code, str(index.path)], cwd=ROOT, check=True)


@posix
def test_ctrl_c_ends_a_question_that_takes_long(index: Index) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom itl_infer.index import schema\n"
        "from itl_infer.index.disk import store_errors\n"
        "with store_errors(Path('x')), schema.reading(Path(sys.argv[1])) as connection:\n"
        "    print('asking', flush=True)\n"
        "    connection.execute('WITH RECURSIVE r(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM r)"
        " SELECT count(*) FROM r').fetchone()\n"
    )
    command = [sys.executable, "-c", code, str(index.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"asking\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, errors = process.communicate(timeout=20)
        assert time.monotonic() - start < 5
    assert b"KeyboardInterrupt" in errors.splitlines()[-1]


def test_a_folder_of_the_repair_that_was_left_is_in_nobodys_way(index: Index, photos: Path) -> None:
    _execute(index.path, "DELETE FROM state")
    (photos.parent / "victim").mkdir()
    (photos.parent / "victim" / "thesis").write_bytes(b"mine")
    (index.path / "salvage").symlink_to(photos.parent / "victim")
    check_index(index.path, repair=True)
    assert (photos.parent / "victim" / "thesis").read_bytes() == b"mine"
    assert sorted(path.name for path in index.path.iterdir() if path.is_dir()) == []
    shutil.rmtree(photos)
    assert check_index(index.path).ok
