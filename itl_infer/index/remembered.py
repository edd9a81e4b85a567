"""What an index remembers of folders besides their pictures: what is left out of them, and which folders they were."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from itl_infer.errors import IndexStoreError
from itl_infer.files import one_form
from itl_infer.index import schema
from itl_infer.index.damage import typed
from itl_infer.index.disk import store_errors
from itl_infer.index.snapshot import read_roots
from itl_infer.walk import Entered, Exclusion

if TYPE_CHECKING:
    import sqlite3

    from itl_infer.index.writer import Writer


def exclusions_in(connection: sqlite3.Connection, folder: Path) -> list[Exclusion]:
    """What the index in `folder` leaves out of its folders, in order."""
    if not schema.has_table(connection, "exclusions"):
        return []
    roots = read_roots(connection, folder)
    return [
        Exclusion(roots[root].locate(path) if path else str(roots[root].folder), os.fsdecode(glob))
        for root, path, glob in typed(
            connection.execute("SELECT root, path, glob FROM exclusions ORDER BY 1, 2, 3"), int, bytes, bytes
        )
        if root in roots
    ]


def read_exclusions(path: Path) -> list[Exclusion]:
    """The same of an index that may not be there yet."""
    try:
        with store_errors(path), schema.reading(path) as connection:
            return exclusions_in(connection, path)
    except schema.NoIndexError:
        return []


def taken_back(
    exclusions: Iterable[Exclusion], globs: bool | Iterable[str], targets: Iterable[Path], index: Path
) -> list[Exclusion]:
    """The exclusions that are no more wanted: of those that bear on `targets` all, or those of some globs.

    Raises IndexStoreError for a glob that none of them has.
    """
    if isinstance(globs, bool):
        wanted = None if globs else set[str]()
    else:
        wanted = {one_form(glob) for glob in globs}
    folders = list(targets)

    def bears(exclusion: Exclusion) -> bool:
        folder = Path(exclusion.folder)
        return any(folder.is_relative_to(target) or target.is_relative_to(folder) for target in folders)

    bearing = [exclusion for exclusion in exclusions if bears(exclusion)]
    if wanted is None:
        return bearing
    if unknown := wanted - {one_form(exclusion.glob) for exclusion in bearing}:
        known = ", ".join(dict.fromkeys(exclusion.glob for exclusion in bearing)) or "nothing"
        raise IndexStoreError(f"{index}: does not exclude {min(unknown)} there, but {known}")
    return [exclusion for exclusion in bearing if one_form(exclusion.glob) in wanted]


def exclude(writer: Writer, root: int, path: bytes, glob: str) -> None:
    """Remember an exclusion of the folder at `path` of a root."""
    writer.change("INSERT OR IGNORE INTO exclusions VALUES (?, ?, ?)", root, path, os.fsencode(glob))


def include_again(writer: Writer, root: int, path: bytes, glob: str) -> None:
    """Forget it."""
    writer.change(
        "DELETE FROM exclusions WHERE root = ? AND path = ? AND glob = ?", root, path, os.fsencode(glob)
    )


def place_then(writer: Writer, root: int, path: bytes) -> Entered | None:
    """The folder at `path` of a root as it was when its pictures were last seen."""
    found = writer.execute("SELECT inode, is_mount FROM places WHERE root = ? AND path = ?", (root, path))
    return _entered(*found[0]) if found else None


def _entered(inode: str, is_mount: int) -> Entered | None:
    """What is no number is not known."""
    return Entered(int(inode), bool(is_mount)) if str(inode).isdecimal() else None


def remember_places(writer: Writer, root: int, places: Mapping[bytes, Entered]) -> None:
    """Note how folders are now."""
    known = {
        path: _entered(inode, is_mount)
        for path, inode, is_mount in writer.execute(
            "SELECT path, inode, is_mount FROM places WHERE root = ?", (root,)
        )
    }
    for path, now in places.items():
        if known.get(path) != now:
            writer.change(
                "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", root, path, str(now.inode), now.is_mount
            )


def remember_system_files(writer: Writer, root: int, files: Mapping[str, int]) -> None:
    """Note what was left out of a root as a system's own, in place of what was noted before."""
    known = dict(writer.execute("SELECT kind, files FROM system_files WHERE root = ?", (root,)))
    if known != dict(files):
        writer.change("DELETE FROM system_files WHERE root = ?", root)
        for kind, number in files.items():
            writer.change("INSERT INTO system_files VALUES (?, ?, ?)", root, kind, number)
