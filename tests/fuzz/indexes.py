"""An index with bytes changed anywhere, or rows that no writer writes: one line, and what is left is saved."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from itl_infer.errors import IndexStoreError
from itl_infer.index import Index
from itl_infer.index.check import check_index
from itl_infer.index.upkeep import read_status
from itl_infer.ingest import embed_directory
from tests.fake_bundle import FakeBundle, write_pictures
from tests.fuzz.helpers import require_line, scratch

_FILES = (
    "index.sqlite",
    "index.sqlite",
    "index.sqlite",
    "paths-000001.nul",
    "vectors-000001.f32",
    "writer.lock",
)
_PICTURES = 6
_EDIT = 5  # bytes of one change: which file (or a statement), where, what
_SQL = 200  # from here on the first byte of a change is a statement
_COLUMNS = (
    ("state", "generation rows paths_bytes embed_dim bundle_name bundle_fingerprint"),
    ("roots", "id location is_whole"),
    ("pictures", "row root path size mtime_ns digest crc state"),
    ("failures", "root path size mtime_ns digest error max_megapixels"),
    ("copies", "what content crc"),
)
_PLACES = [(table, column) for table, columns in _COLUMNS for column in columns.split()]
_VALUES = (
    *(
        "-1",
        "0",
        "1",
        "7",
        "2147483648",
        "-9223372036854775808",
        "9223372036854775807",
        "1e308",
        "-0.5",
        "9e999",
    ),
    *(
        "NULL",
        "'abc'",
        "''",
        "x''",
        "x'2f00'",
        "x'2e2e2f2e2e2f'",
        "x'ff'",
        "CAST(x'ff' AS TEXT)",
        "'a' || char(0)",
    ),
    *("zeroblob(100000)", "'../x'", "x'2f6574632f706173737764'"),
)
_STATEMENTS = (
    *(
        "DELETE FROM state",
        "INSERT INTO state SELECT * FROM state",
        "DELETE FROM roots",
        "DELETE FROM pictures",
    ),
    *(
        "DROP TABLE copies",
        "DROP TABLE failures",
        "DELETE FROM copies",
        "DROP INDEX picture_at",
        "PRAGMA user_version=0",
    ),
    "PRAGMA user_version=300",
    "PRAGMA user_version=-1",
    "PRAGMA journal_mode=WAL",
    "CREATE VIEW more AS SELECT * FROM pictures",
    "CREATE TRIGGER t AFTER INSERT ON pictures BEGIN DELETE FROM state; END",
    "CREATE INDEX i ON pictures(size + 1)",
    "CREATE TABLE other (x)",
    "ALTER TABLE roots ADD COLUMN more",
    "ALTER TABLE roots RENAME TO roofs",
    "INSERT INTO pictures SELECT row + 1000000, root, path || x'61', size, mtime_ns, digest, crc, 0 FROM pictures",
)

Fault = AssertionError


@cache
def _good() -> Path:
    """An index of six pictures, one of which is gone, and one that failed."""
    folder = scratch() / "indexes"
    paths = write_pictures(folder / "photos", _PICTURES)
    (folder / "photos" / "bad.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    index = Index.open(folder / "good.itl", FakeBundle())
    embed_directory(folder / "photos", index)
    Path(paths[2]).unlink()
    embed_directory(folder / "photos", index)
    return folder


def seeds() -> Iterator[bytes]:
    """Some changes of each kind."""
    for number in range(len(_STATEMENTS)):
        yield bytes([_SQL + number % 56, 0, 0, 0, number])
    for place in range(len(_PLACES)):
        yield bytes([255, place, place % len(_VALUES), 0, 0])
    for offset in range(0, 4096 * 14, 517):
        yield bytes([0, *offset.to_bytes(3, "little"), 0xFF])
    for file in (3, 4, 5):
        yield bytes([file, 9, 0, 0, 1])


def _apply(folder: Path, data: bytes) -> None:
    for start in range(0, min(len(data), 20 * _EDIT) - _EDIT + 1, _EDIT):
        which, *place, value = data[start : start + _EDIT]
        if which >= _SQL:
            damaged = (sqlite3.Error, UnicodeDecodeError)  # the second of a message that quotes the damage
            with contextlib.suppress(*damaged), contextlib.closing(_connect(folder)) as connection:
                if which == 255:
                    table, column = _PLACES[place[0] % len(_PLACES)]
                    new = _VALUES[place[1] % len(_VALUES)]
                    where = (
                        f"WHERE rowid % {place[2] % 7 + 1} = 0"
                        if place[2] and table in ("roots", "pictures")
                        else ""
                    )
                    connection.execute(f"UPDATE {table} SET {column} = {new} {where}")
                else:
                    connection.execute(_STATEMENTS[value % len(_STATEMENTS)])
            continue
        path = folder / _FILES[which % len(_FILES)]
        size = path.stat().st_size
        offset = int.from_bytes(bytes(place), "little")
        with path.open("r+b") as file:
            if which >= 150:
                file.truncate(offset % (size + 1))
            elif size:
                file.seek(offset % size)
                file.write(bytes([value]))


def _connect(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "index.sqlite", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def run(data: bytes) -> None:
    """Change a copy of the index, look at it in every way, repair it, and look again."""
    good = _good()
    folder = good / "tried.itl"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good / "good.itl", folder)
    _apply(folder, data)
    look(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with one_line():
        check_index(folder)
    after = {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(("-shm", "-wal"))
    }
    if {name: before.get(name) for name in after} != after:
        raise Fault("check wrote something")
    try:
        check_index(folder, repair=True)
    except IndexStoreError as error:
        require_line(error)
        if not any(sign in str(error) for sign in ("move ", "upgrade", "copy it back")):
            raise Fault(f"a repair that does not say what to do: {error}") from error
        return
    if not (report := check_index(folder)).ok:
        raise Fault(f"repaired, and damaged: {report.problems}")
    with contextlib.suppress(IndexStoreError):  # it may well be another bundle's
        index = Index.open(folder, FakeBundle())
        if len(index.search("red", 100)) != len(index):
            raise Fault("not all that is there is found")
        embed_directory(good / "photos", index)
        if not check_index(folder).ok:
            raise Fault("damaged by the next run")


def look(folder: Path) -> None:
    """What a person asks of an index; each an answer or one line."""
    with one_line():
        read_status(folder)
    with one_line():
        index = Index.open(folder, FakeBundle())
        for result in index.search("red", 100):
            if not -1.01 <= result.score <= 1.01 or "\0" in result.path or "/../" in result.path:
                raise Fault(f"found {result}")


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Whatever is wrong is one line of one kind."""
    try:
        yield
    except IndexStoreError as error:
        require_line(error)
