"""What a person asks about an index, or does to it now and then: its status, pruning it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from itl_infer.index import schema
from itl_infer.index.damage import Damage, typed
from itl_infer.index.disk import store_errors
from itl_infer.index.remembered import exclusions_in
from itl_infer.index.roots import Root
from itl_infer.index.schema import RowState, State
from itl_infer.index.snapshot import read_roots
from itl_infer.index.writer import open_writer
from itl_infer.walk import Exclusion

if TYPE_CHECKING:
    from itl_infer.index.index import Index

_KNOWN_FILES = """
    SELECT path, state FROM pictures WHERE root = :root AND state <> 2
    UNION ALL SELECT path, NULL FROM failures WHERE root = :root
"""

_LEFT_OUT_FILES = " UNION ALL SELECT path, NULL FROM left_out WHERE root = :root"
_LEFT_OUT = "SELECT suffix, count(*), max(extra) FROM left_out GROUP BY suffix ORDER BY 2 DESC, 1"
_SYSTEM_FILES = "SELECT kind, sum(files) FROM system_files GROUP BY kind ORDER BY 2 DESC, 1"


class RootStatus(NamedTuple):
    """A remembered folder."""

    folder: str
    pictures: int
    is_missing: bool
    is_empty: bool  # there, but nothing is in it, as where a drive is not plugged in


class KnownLeftOut(NamedTuple):
    """Files of one ending that nothing could read in the last run over them."""

    files: int
    extra: str  # of itl-infer, which brings what does


class KnownFailure(NamedTuple):
    """A file in the ledger of failures."""

    path: str
    error: str


@dataclass(frozen=True)
class Status:
    """What an index holds."""

    state: State
    pictures: int  # that a search looks at
    set_aside: int  # excluded, embeddings kept
    gone: int  # rows that the next compaction drops
    roots: tuple[RootStatus, ...]
    failures: tuple[KnownFailure, ...]
    bytes_on_disk: int
    left_out: dict[str, KnownLeftOut]  # by ending, ".heic"; the largest number first
    exclusions: tuple[Exclusion, ...]  # what every run leaves out of folders
    system_files: dict[
        str, int
    ]  # left out as a system's own in the last run over each folder: "@eaDir", "._*"

    def to_json(self) -> dict[str, Any]:
        """The status as an object for `json`."""
        return {
            "bundle": {"name": self.state.bundle_name, "fingerprint": self.state.bundle_fingerprint},
            "pictures": self.pictures,
            "set_aside": self.set_aside,
            "gone": self.gone,
            "bytes": self.bytes_on_disk,
            "folders": [root._asdict() for root in self.roots],
            "failures": [failure._asdict() for failure in self.failures],
            "left_out": {suffix: found._asdict() for suffix, found in self.left_out.items()},
            "exclusions": [exclusion._asdict() for exclusion in self.exclusions],
            "system_files": self.system_files,
        }


def read_status(path: str | os.PathLike[str]) -> Status:
    """The status of the index at `path`. Raises IndexStoreError where there is none."""
    folder = Path(path)
    with store_errors(folder), schema.reading(folder) as connection:
        roots = read_roots(connection, folder)
        rows = dict(connection.execute("SELECT state, count(*) FROM pictures GROUP BY state"))
        pictures = dict(
            connection.execute("SELECT root, count(*) FROM pictures WHERE state = 0 GROUP BY root")
        )
        return Status(
            state=schema.read_state(connection),
            pictures=rows.get(RowState.LIVE, 0),
            set_aside=rows.get(RowState.ASIDE, 0),
            gone=rows.get(RowState.GONE, 0),
            roots=tuple(
                RootStatus(
                    str(root.folder),
                    pictures.get(root.id, 0),
                    is_missing=root.is_missing() and not root.folder.is_dir(),
                    is_empty=root.is_missing() and root.folder.is_dir(),
                )
                for root in roots.values()
            ),
            failures=tuple(
                KnownFailure(_root(roots, root).locate(name), error)
                for root, name, error in typed(
                    connection.execute("SELECT root, path, error FROM failures"), int, bytes, str
                )
            ),
            left_out={
                suffix: KnownLeftOut(files, extra)
                for suffix, files, extra in typed(
                    connection.execute(_LEFT_OUT) if schema.has_table(connection, "left_out") else (),
                    str,
                    int,
                    str,
                )
            },
            exclusions=tuple(exclusions_in(connection, folder)),
            system_files=dict(
                typed(
                    connection.execute(_SYSTEM_FILES) if schema.has_table(connection, "system_files") else (),
                    str,
                    int,
                )
            ),
            bytes_on_disk=sum(file.lstat().st_size for file in folder.iterdir()),
        )


def sizes_of(index: Index) -> npt.NDArray[np.int64]:
    """The size in bytes of the file of each row of an index, as it was when it was embedded, (N,).

    Turns the index to what is committed now, so that it is of the same moment.
    """
    index.refresh()
    sizes = np.zeros(index.state.rows, np.int64)
    with store_errors(index.path), schema.reading(index.path) as connection:
        if schema.read_state(connection).generation != index.state.generation:  # compacted just now
            return sizes_of(index)
        for row, size in typed(connection.execute("SELECT row, size FROM pictures"), int, int):
            if 0 <= row < len(sizes):
                sizes[row] = size
    return sizes[index.paths.rows()]


def _root(roots: Mapping[int, Root], number: int) -> Root:
    if number not in roots:
        raise Damage(f"malformed: a failure in folder {number}, which is not remembered")
    return roots[number]


def remembered_paths(path: str | os.PathLike[str]) -> list[str]:
    """What `embed_directory` was given to make the index at `path`: folders, and single files."""
    folder = Path(path)
    with store_errors(folder), schema.reading(folder) as connection:
        remembered = []
        for root in read_roots(connection, folder).values():
            if root.is_whole:
                remembered.append(str(root.folder))
            else:
                found = connection.execute(_KNOWN_FILES, {"root": root.id})
                known = [name for name, _ in typed(found, bytes, (int, NoneType))]
                if schema.has_table(connection, "left_out"):
                    others = connection.execute("SELECT path FROM left_out WHERE root = ?", (root.id,))
                    known += [name for (name,) in typed(others, bytes)]
                remembered += map(root.locate, known)
        return remembered


class Pruned(NamedTuple):
    """What `prune` dropped."""

    pictures: int
    roots: tuple[str, ...]  # folders that have nothing left


def prune(path: str | os.PathLike[str], *, wait: bool = False) -> Pruned:
    """Drop every picture whose file is gone, folders that are missing among them, and give back the space.

    Raises IndexStoreError where there is no index, or another process is writing it, unless told to `wait`.
    """
    folder = Path(path)
    with open_writer(folder, None, wait=wait) as writer:
        pictures, forgotten = 0, []
        for root in writer.roots().values():
            with store_errors(folder):
                known = writer.execute(_KNOWN_FILES + _LEFT_OUT_FILES, {"root": root.id})
            gone = [(name, state) for name, state in known if root.has_file(name) is False]
            pictures += sum(state == RowState.LIVE for _, state in gone)
            if len(gone) == len(known):
                writer.forget_root(root.id)
                forgotten.append(str(root.folder))
                continue
            for name, _ in gone:
                writer.drop(root.id, name)
        writer.commit()
        writer.compact()
    return Pruned(pictures, tuple(forgotten))
