"""The names in an index: what stands of them in its database, read and written."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itl_infer import teaching
from itl_infer.errors import IndexStoreError
from itl_infer.index import schema
from itl_infer.index.disk import store_errors
from itl_infer.index.roots import resolve_location, store_location
from itl_infer.store import are_unit_rows

if TYPE_CHECKING:
    from itl_infer.index.schema import State
    from itl_infer.teaching import Example, Moments, Names, Taught

_COLUMNS = "digest, location, is_wanted, fingerprint, embedding, crc"
_MOMENTS = "fingerprint, generation, rows, live, mean, covariance, crc"
_MENDED = "itl-infer check --repair drops it and keeps the rest"
_NEARLY = 0.02  # of all rows that moments may lack or have too many: less is no difference
WORTH_KEEPING = (
    20_000  # rows, whose moments take some 20 ms: of fewer they are kept only where names need them
)

Change = Callable[..., None]  # Writer.change: an SQL statement and its parameters


def names_of(named: dict[str, str], folder: Path, state: State, moments: Callable[[], Moments]) -> Names:
    """The names in an index as they were in a state, of `read_named`; their examples are read when they are needed."""
    if not named:
        return teaching.NO_NAMES

    def read(key: str) -> Taught:
        with store_errors(folder), schema.reading(folder) as connection:
            examples = tuple(read_examples(connection, folder, key, state))
        return teaching.Taught(named[key], examples, moments())

    return teaching.Names(named, read)


def read_named(connection: sqlite3.Connection, not_of: str | None = None) -> dict[str, str]:
    """How each name is written, by its key; only those with examples that are not of the fingerprint `not_of`."""
    if not schema.has_table(connection, "taught"):
        return {}
    which = "" if not_of is None else " WHERE key IN (SELECT key FROM examples WHERE fingerprint <> ?)"
    found = connection.execute(f"SELECT key, name FROM taught{which}", () if not_of is None else (not_of,))
    return {key: name for key, name in found if isinstance(key, str) and isinstance(name, str)}


def read_examples(connection: sqlite3.Connection, folder: Path, key: str, state: State) -> Iterator[Example]:
    """The examples of a name, in the order in which they were taught. Raises IndexStoreError for a damaged one."""
    found = connection.execute(f"SELECT {_COLUMNS} FROM examples WHERE key = ? ORDER BY location", (key,))
    for digest, location, is_wanted, fingerprint, embedding, crc in found:
        is_proper = (
            all(isinstance(one, bytes) for one in (digest, location, embedding)) and len(embedding) % 4 == 0
        )
        if not (is_proper and _is_whole((key, digest, location, is_wanted, fingerprint, embedding), crc)):
            raise IndexStoreError(f"{folder}: an example of the name {key!r} is damaged: {_MENDED}")
        rows = None
        if fingerprint == state.bundle_fingerprint:
            rows = np.frombuffer(embedding, "<f4")
            if len(rows) != state.embed_dim or not are_unit_rows(rows[None])[0]:
                raise IndexStoreError(f"{folder}: an example of the name {key!r} is damaged: {_MENDED}")
        yield teaching.Example(locate(location, folder), digest, bool(is_wanted), rows)


def locate(location: bytes, folder: Path) -> str:
    """Where the picture of a stored example is for this reader."""
    return str(resolve_location(location, folder))


def read_moments(folder: Path, state: State, live: int) -> Moments | None:
    """The moments that are kept with the index, where they are those of its state or nearly so."""
    with store_errors(folder), schema.reading(folder) as connection:
        if not schema.has_table(connection, "taught"):
            return None
        kept = connection.execute(f"SELECT {_MOMENTS} FROM moments").fetchone()
    return None if kept is None else _moments(kept, state, live, _NEARLY)


def _moments(kept: tuple[Any, ...], state: State, live: int, tolerance: float) -> Moments | None:
    *content, crc = kept
    fingerprint, _, _, rows, mean, covariance = content
    width = state.embed_dim
    is_proper = isinstance(mean, bytes) and isinstance(covariance, bytes) and isinstance(rows, int)
    if not (is_proper and _is_whole(content, crc)) or fingerprint != state.bundle_fingerprint:
        return None
    if abs(rows - live) > tolerance * live or (len(mean), len(covariance)) != (8 * width, 8 * width * width):
        return None
    return teaching.Moments(
        rows, np.frombuffer(mean, "<f8"), np.frombuffer(covariance, "<f8").reshape(width, width)
    )


def are_of(connection: sqlite3.Connection, state: State, live: int) -> bool:
    """Whether the moments that are kept are exactly those of a state."""
    kept = connection.execute(f"SELECT {_MOMENTS} FROM moments").fetchone()
    return (
        kept is not None
        and (kept[1], kept[2]) == (state.generation, state.rows)
        and _moments(kept, state, live, 0) is not None
    )


def put_moments(change: Change, state: State, moments: Moments) -> None:
    """Keep the moments of all rows, in place of those of another state."""
    content = (
        *(state.bundle_fingerprint, state.generation, state.rows, moments.count),
        *(moments.mean.astype("<f8").tobytes(), moments.covariance.astype("<f8").tobytes()),
    )
    change("DELETE FROM moments")
    change("INSERT INTO moments VALUES (?, ?, ?, ?, ?, ?, ?)", *content, _crc(content))


def put_name(change: Change, name: str) -> None:
    """Remember a name; one that is there keeps its examples."""
    change(
        "INSERT INTO taught VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET name = excluded.name",
        teaching.key_of(name),
        name,
    )


def put_example(change: Change, folder: Path, name: str, example: Example, fingerprint: str) -> None:
    """Remember an example of a name, in place of what was known of the same picture."""
    assert example.embedding is not None
    content = (
        *(
            teaching.key_of(name),
            example.digest,
            store_location(Path(example.path), folder),
            int(example.is_wanted),
        ),
        *(fingerprint, example.embedding.astype("<f4").tobytes()),
    )
    change(
        "INSERT INTO examples VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key, digest) DO UPDATE SET"
        " location = excluded.location, is_wanted = excluded.is_wanted, fingerprint = excluded.fingerprint,"
        " embedding = excluded.embedding, crc = excluded.crc",
        *content,
        _crc(content),
    )


def drop_name(change: Change, name: str) -> None:
    """Forget a name and its examples."""
    for table in ("taught", "examples"):
        change(f"DELETE FROM {table} WHERE key = ?", teaching.key_of(name))


def damaged(connection: sqlite3.Connection) -> Iterator[tuple[str, str, tuple[object, ...]]]:
    """Each record of names that is not what was written: what it is, and the statement that drops it."""
    if not schema.has_table(connection, "taught"):
        return
    for key, name in connection.execute("SELECT key, name FROM taught"):
        if not (isinstance(name, str) and isinstance(key, str) and teaching.key_of(name) == key):
            yield (
                f"the name {str(key)[:40]!r} is not what was taught",
                "DELETE FROM taught WHERE key IS ?",
                (key,),
            )
    for key, *content, crc in connection.execute(f"SELECT key, {_COLUMNS} FROM examples"):
        if not _is_whole((key, *content), crc):
            what = f"an example of the name {str(key)[:40]!r} does not match its checksum"
            yield what, "DELETE FROM examples WHERE key IS ? AND digest IS ?", (key, content[0])
    for *content, crc in connection.execute(f"SELECT {_MOMENTS} FROM moments"):
        if not _is_whole(content, crc):
            yield "the moments of all rows do not match their checksum", "DELETE FROM moments", ()


def _is_whole(content: Iterable[object], crc: object) -> bool:
    try:
        return _crc(content) == crc
    except TypeError:
        return False


def _crc(content: Iterable[object]) -> int:
    """CRC-32 over the values of a record."""
    parts = []
    for value in content:
        if isinstance(value, bytes):
            part = value
        elif isinstance(value, (str, int)):
            part = str(value).encode(errors="surrogatepass")
        else:
            raise TypeError(f"{value!r} is no value of a record")
        parts.append(b"%d:%b" % (len(part), part))
    return zlib.crc32(b"".join(parts))
