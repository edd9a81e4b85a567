"""The files of an index, opened as plain files of its own folder: one from elsewhere may have links in their place."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from itl_infer.errors import IndexStoreError

_NEW_INDEX = "put the file itself there, or embed again into a new index"
_JOURNAL = "-journal"
_BESIDE = (_JOURNAL, "-wal", "-shm")  # what SQLite itself opens beside a database
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


def require_plain(path: Path, *, to_write: bool = False) -> None:
    """Raise IndexStoreError where something is at `path` that is no plain file: a link, a pipe, a device, a folder.

    What is `to_write` may have no second name either, under which something else would be changed.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    _require_plain(path, status, to_write=to_write)


def open_plain(path: Path, *, to_write: bool = False, make: bool = False) -> IO[bytes]:
    """A plain file, unbuffered: to read, or `to_write` as well; `make` makes one where there is none.

    Never follows a link in its last part, nor waits for the other end of a pipe. Raises IndexStoreError for all that
    is no plain file, and OSError.
    """
    require_plain(path, to_write=to_write)  # Windows cannot leave it to the opening, and pipes may hang there
    more = os.O_CREAT if make else 0
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"):
        more |= getattr(os, name, 0)  # as far as the system has them
    file = open(  # noqa: SIM115 (Path.open takes no opener)
        path,
        "r+b" if to_write else "rb",
        buffering=0,
        opener=lambda name, flags: os.open(name, flags | more, 0o666),
    )
    try:
        _require_plain(path, os.fstat(file.fileno()), to_write=to_write)
    except BaseException:
        file.close()
        raise
    return file


def make_anew(path: Path) -> IO[bytes]:
    """A new, empty file to write, in place of whatever was there; what a link there led to stays as it was."""
    if os.path.lexists(path):
        path.unlink()
    return path.open("xb")


def size_of(path: Path) -> int:
    """Bytes of a plain file; 0 where there is none. Raises IndexStoreError for what is no plain file."""
    require_plain(path)
    try:
        return os.lstat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def require_plain_database(path: Path, *, to_write: bool = False) -> None:
    """`require_plain` for a database of SQLite and what it opens beside it, so that none of them leads elsewhere."""
    require_plain(path, to_write=to_write)
    for suffix in _BESIDE:
        require_plain(path.with_name(path.name + suffix), to_write=to_write)
    journal = path.with_name(path.name + _JOURNAL)
    if size_of(journal) > len(_JOURNAL_MAGIC):
        with open_plain(journal) as file:
            file.seek(-len(_JOURNAL_MAGIC), os.SEEK_END)
            # It ends in the name of a file that SQLite would remove. Ours are of one database, and name none.
            if file.read() == _JOURNAL_MAGIC:
                raise IndexStoreError(f"{journal}: names another file, as none of an index does: remove it")


def copy_database(path: Path, to: Path) -> None:
    """Copy a database, and the journal beside it, into the folder `to`."""
    import shutil  # rarely needed, and not at once there

    require_plain_database(path)
    for source in (path, path.with_name(path.name + _JOURNAL)):
        if size_of(source):
            with open_plain(source) as file, (to / source.name).open("xb") as copy:
                shutil.copyfileobj(file, copy)


def _require_plain(path: Path, status: os.stat_result, *, to_write: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "not a plain file"
        raise IndexStoreError(f"{path}: {kind}, which no index has there: {_NEW_INDEX}")
    if to_write and status.st_nlink > 1:
        raise IndexStoreError(
            f"{path}: has a second name (a hard link), under which it would be changed too: copy the folder, and use"
            " the copy"
        )
