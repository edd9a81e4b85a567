"""What a durable index asks of the system: writes that have reached the disk, one writer at a time."""

from __future__ import annotations

import contextlib
import mmap
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from itl_infer.errors import IndexStoreError, reason_of
from itl_infer.files import sync
from itl_infer.index.plain import open_plain, require_plain

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 1 << 30  # far behind the text in the file, which others may then still read

    def _try_lock(file: IO[bytes], *, shared: bool) -> bool:  # noqa: ARG001 (there is no sharing)
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(file: IO[bytes], *, shared: bool) -> bool:
        # flock, not lockf: it also keeps two writers of one process apart.
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def writer_lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file at `path`; the system frees it when the process ends, however it ends.

    Raises IndexStoreError where another writer holds it, unless told to `wait`.
    """
    with open_plain(path, to_write=True, make=True) as file:
        _lock(file, path, wait=wait, shared=False)
        with contextlib.suppress(OSError):  # only a courtesy, here and below: what counts is the lock
            file.seek(0)
            file.truncate()
            file.write(b"%d\n" % os.getpid())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)


@contextlib.contextmanager
def no_writer(path: Path, *, wait: bool) -> Iterator[None]:
    """Keep writers out without writing anything oneself; several may. Raises IndexStoreError like `writer_lock`."""
    require_plain(path)
    with open_plain(path) if path.exists() else contextlib.nullcontext() as file:
        if file is not None:  # else nobody has ever written here, or the file was not copied along
            _lock(file, path, wait=wait, shared=True)
        yield


def _lock(file: IO[bytes], path: Path, *, wait: bool, shared: bool) -> None:
    while not _try_lock(file, shared=shared):
        if not wait:
            file.seek(0)
            writer = file.read(20).decode("ascii", "replace").strip() or "unknown"
            raise IndexStoreError(
                f"{path.parent}: being written to by process {writer}: wait for it to end (--wait does)"
            )
        time.sleep(0.1)


def write_at(path: Path, offset: int, data: bytes | memoryview) -> None:
    """Write at a place of an existing file, cut off what was behind it, and wait until the disk has it."""
    with open_plain(path, to_write=True) as file:
        with contextlib.suppress(OSError):  # Windows will not shorten a file that a reader has mapped
            file.truncate(offset)
        file.seek(offset)
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        sync(file)


def map_file(path: Path, length: int, *, private: bool = False) -> mmap.mmap | bytearray:
    """The first `length` bytes of a file, read when used; `private` ones may be changed, in memory only."""
    if length == 0:
        return bytearray()  # nothing cannot be mapped
    with open_plain(path) as file:
        found = os.fstat(file.fileno()).st_size
        if found < length:
            raise IndexStoreError(
                f"{path}: {found} bytes where {length} were written: itl-infer check --repair keeps the rest"
            )
        access = mmap.ACCESS_COPY if private else mmap.ACCESS_READ
        return mmap.mmap(file.fileno(), length, access=access)


@contextlib.contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """Turn what the system or SQLite says about the files of an index into an IndexStoreError."""
    try:
        with database_errors(folder):
            yield
    except OSError as error:
        raise IndexStoreError(_explain(folder, reason_of(error))) from error


@contextlib.contextmanager
def database_errors(folder: Path) -> Iterator[None]:
    """Turn what SQLite says about an index into an IndexStoreError; for where files of others are touched too."""
    try:
        yield
    except sqlite3.Error as error:
        raise_interrupt(error)
        raise IndexStoreError(_explain(folder, reason_of(error), is_of_database=True)) from error
    except UnicodeDecodeError as error:  # from SQLite's own message, which repeats the damaged text
        raise IndexStoreError(_explain(folder, "malformed text", is_of_database=True)) from error


def raise_interrupt(error: sqlite3.Error) -> None:
    """Ctrl+C during a statement comes back from SQLite as its own error: raise what it was."""
    if isinstance(error, sqlite3.OperationalError) and str(error) == "interrupted":
        raise KeyboardInterrupt from error


_REPAIR = "itl-infer check --repair drops what is damaged and keeps the rest"
_MENDS = {
    "full": "free some space and run again, all that was committed is kept",
    "No space": "free some space and run again, all that was committed is kept",
    "locked": "another program holds it; run again when it is done",
    "readonly": "use an index that you may write to",
    "Read-only": "use an index that you may write to",
    "Permission": "use an index that you may read and write",
    "unable to open": "use an index that you may read and write",
    "I/O error": "check the disk and run again",
}


def _explain(folder: Path, reason: str, *, is_of_database: bool = False) -> str:
    mend = next((mend for sign, mend in _MENDS.items() if sign in reason), "")
    return f"{folder}: {reason}: {mend or (_REPAIR if is_of_database else 'check the disk and run again')}"
