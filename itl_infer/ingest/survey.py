"""Compare folders with an index: which files are new or changed, which are known, which rows lost theirs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from itl_infer.errors import FolderError
from itl_infer.index.roots import Root, real_path
from itl_infer.index.schema import RowState
from itl_infer.walk import FoundFile, Walk, describe

if TYPE_CHECKING:
    from itl_infer.index import Writer

_PAGE = 1000  # items read from the database at a time

# What was found and what is to be done live in temporary tables: SQLite compares a million files in seconds,
# and keeps on disk what does not fit in memory. Without types, it would not use the indices of both sides.
_FILE = "root INTEGER, path BLOB, size INTEGER, mtime_ns INTEGER"
_TABLES = (
    f"CREATE TEMP TABLE seen ({_FILE}, PRIMARY KEY (root, path)) WITHOUT ROWID",
    f"CREATE TEMP TABLE todo (id INTEGER PRIMARY KEY, {_FILE}, picture_digest BLOB, failure_digest BLOB,"
    " needs_facts INTEGER)",
    "CREATE TEMP TABLE gone (row INTEGER PRIMARY KEY, in_scope INTEGER)",
    "CREATE TEMP TABLE excluded (row INTEGER PRIMARY KEY)",
)

_SAME_PICTURE = "temp.seen JOIN pictures USING (root, path, size, mtime_ns) WHERE state <> 2 AND state = {:d}"
# What a survey found out about rows, for `Writer.set_states`.
GONE_ROWS = "temp.gone WHERE in_scope"
EXCLUDED_ROWS = "temp.excluded"
WANTED_AGAIN_ROWS = _SAME_PICTURE.format(RowState.ASIDE)

# What failed with these words, of an earlier version, may be read by now: more formats are, larger pictures, and those
# that are cut at the end. What still cannot be is told in other words, so that this happens once.
_OUTDATED = """(
    {0}error = 'not a JPEG, PNG, WebP, GIF, TIFF or BMP picture'
    OR {0}error LIKE '% megapixels, more than the limit of % if it is meant'
    OR ({0}error LIKE 'truncated or damaged: image file is truncated%' AND {0}error NOT LIKE '%half is needed')
)"""
_UNCHANGED = f"{_SAME_PICTURE.format(RowState.LIVE)} AND has_facts"
_SAME_FAILURE = (
    "temp.seen JOIN failures USING (root, path, size, mtime_ns)"
    f" WHERE max_megapixels >= :max_megapixels AND NOT :retry_failed AND NOT {_OUTDATED.format('')}"
)

_FILL_TODO = f"""
    INSERT INTO temp.todo (root, path, size, mtime_ns, picture_digest, failure_digest, needs_facts)
    SELECT s.root, s.path, s.size, s.mtime_ns, CASE p.state WHEN 0 THEN p.digest END, f.digest,
           p.state = 0 AND NOT p.has_facts
    FROM temp.seen s
    LEFT JOIN pictures p ON p.root = s.root AND p.path = s.path AND p.state <> 2
    LEFT JOIN failures f ON f.root = s.root AND f.path = s.path AND f.max_megapixels >= :max_megapixels
                        AND NOT :retry_failed AND NOT {_OUTDATED.format("f.")}
    WHERE ((s.size, s.mtime_ns) IS NOT (p.size, p.mtime_ns) OR (p.state = 0 AND NOT p.has_facts))
      AND (s.size, s.mtime_ns) IS NOT (f.size, f.mtime_ns)
    ORDER BY s.root, s.path
"""


class Target:
    """A folder, or a single file, that was asked for."""

    def __init__(self, path: Path, exclude: Sequence[str] = (), include_hidden: bool = False) -> None:
        self.path = path  # as given, for messages
        is_folder = path.is_dir()
        # A file keeps its own name, whatever file that may be a link to.
        self.real = real_path(path) if is_folder else real_path(path.parent) / path.name
        self.walk = Walk(self.real, exclude, include_hidden) if is_folder else None
        self._identity = self._identify()

    @property
    def folder(self) -> Path:
        """The folder to remember as a root, where no root covers it yet."""
        return self.real.parent if self.walk is None else self.real

    def exists(self) -> bool:
        return self._identity is not None

    def went_away(self) -> bool:
        """Whether a folder has been replaced by another, or by none, as when a drive is pulled out."""
        return self.walk is not None and self._identify() != self._identity

    def files(self) -> Iterable[FoundFile]:
        """What there is to embed; a single file whatever its name."""
        if self.walk is not None:
            return self.walk
        return describe(self.real, str(self.real)) if self.exists() else ()

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = self.real.lstat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


class Item(NamedTuple):
    """A file that must be read."""

    root: int
    path: bytes  # from the root on
    location: str  # as this machine can open it
    size: int
    mtime_ns: int
    picture_digest: bytes | None  # of what is embedded under this name
    failure_digest: bytes | None  # of what could not be embedded, and need not be tried again
    needs_facts: bool | None  # what is embedded under this name has none yet


class _Scope(NamedTuple):
    """Stored paths that a target covers: those of one root with low <= path < high (None: no end)."""

    root: int
    low: bytes = b""
    high: bytes | None = None


class Survey:
    """What `look` finds. It changes nothing of the index but its list of roots, from the next commit on."""

    def __init__(self, writer: Writer, *, max_megapixels: float, retry_failed: bool) -> None:
        self._writer = writer
        self._options = {"max_megapixels": max_megapixels, "retry_failed": retry_failed}
        self._roots = writer.roots()
        self._first_new_row = writer.state.rows
        self._places: dict[str, tuple[int, bytes]] = {}
        for table in _TABLES:
            writer.execute(table)
        self.vanished_others: set[tuple[int, bytes]] = set()  # files that failed or were left out before
        self.problems: list[tuple[str, str]] = []  # folders that could not be listed, and why
        self.missing: list[Root] = []  # remembered folders that are not there, or empty
        self.kept: dict[int, Root] = {}  # those in the targets with none of their pictures: not gone for that

    def look(self, targets: Sequence[Target], *, prune: bool) -> None:
        """Walk the targets and compare. Raises FolderError for one that lost all pictures, unless `prune`."""
        self._offer_missing_roots()
        found = [self._see(target) for target in targets]
        for target, files in zip(targets, found, strict=True):
            lost = self._compare(target, prune=prune)
            # A file loses none, unless it stands where a folder was.
            if lost and not prune and (not files or target.walk is None):
                raise FolderError(
                    f"{target.path}: no pictures in there, but {lost} in the index, nothing was removed: plug"
                    " the drive in or, where they are gone for good, --prune"
                )
            if target.went_away():
                raise FolderError(
                    f"{target.path}: went away while it was read: nothing was removed; run again"
                )
        self._writer.execute(_FILL_TODO, self._options)

    def _offer_missing_roots(self) -> None:
        """Pictures of folders that are not there may turn up under the targets, but are not dropped for that."""
        self.missing = [root for root in self._roots.values() if root.is_missing()]
        self._writer.executemany(
            "INSERT INTO temp.gone SELECT row, FALSE FROM pictures WHERE root = ? AND state = 0",
            [(root.id,) for root in self.missing],
        )

    def _see(self, target: Target) -> int:
        """Note the files of a target; how many there are."""
        is_folder = target.walk is not None
        root = self._root_of(target.folder)
        if root is None and target.exists():
            root = self._writer.add_root(target.folder, is_whole=is_folder)
            self._roots[root.id] = root
            self._places.clear()
        elif root is not None and is_folder and root.folder == target.folder and not root.is_whole:
            self._writer.make_whole(root)
        found = self._writer.executemany(
            "INSERT OR REPLACE INTO temp.seen VALUES (?, ?, ?, ?)",
            ((*self._place(file.path), file.size, file.mtime_ns) for file in target.files()),
        )
        if target.walk is not None:
            self.problems += target.walk.problems
        return found

    def _root_of(self, folder: Path) -> Root | None:
        """The innermost root that covers a folder."""
        covering = [root for root in self._roots.values() if folder.is_relative_to(root.folder)]
        return max(covering, key=lambda root: len(root.folder.parts), default=None)

    def _place(self, path: str) -> tuple[int, bytes]:
        """The root of a file, and its path from there on."""
        folder, name = os.path.split(path)
        if folder not in self._places:
            root = self._root_of(Path(folder))
            assert root is not None
            self._places[folder] = (root.id, _stored_path(Path(folder), root))
        root_id, prefix = self._places[folder]
        return root_id, prefix + b"/" * bool(prefix) + os.fsencode(name)

    def _compare(self, target: Target, *, prune: bool) -> int:
        """Sort out what a target covers and was not seen; how many of its pictures are gone.

        A remembered folder somewhere in the target that has none of its pictures left may be a drive that is
        not plugged in: those are kept, unless `prune`.
        """
        lost = 0
        for scope in self._scopes(target):
            root = self._roots[scope.root]
            gone: list[tuple[int, RowState]] = []
            excluded: list[tuple[int]] = []
            has_any = self._has_seen_in(root.folder)
            for row, path, state in self._unseen("row, path, state", "pictures", scope):
                is_there = root.has_file(path)
                has_any = has_any or is_there is not False
                if is_there is False:
                    gone.append((row, state))
                elif is_there and state == RowState.LIVE:
                    excluded.append((row,))
            live = sum(state == RowState.LIVE for _, state in gone)
            if live and not has_any and not prune and target.real in root.folder.parents:
                self.kept[root.id] = root
                continue
            rows = ((row,) for row, _ in gone)
            self._writer.executemany("INSERT OR REPLACE INTO temp.gone VALUES (?, TRUE)", rows)
            self._writer.executemany("INSERT OR IGNORE INTO temp.excluded VALUES (?)", excluded)
            for table in ("failures", "left_out"):
                self.vanished_others.update(self._unseen("root, path", table, scope))
            lost += live
        return lost

    def _has_seen_in(self, folder: Path) -> bool:
        """Whether a file was seen under one of the roots that are, or are in, a folder."""
        inside = [root.id for root in self._roots.values() if root.folder.is_relative_to(folder)]
        return any(
            self._writer.execute("SELECT 1 FROM temp.seen WHERE root = ? LIMIT 1", (root,)) for root in inside
        )

    def _scopes(self, target: Target) -> Iterator[_Scope]:
        for root in self._roots.values():
            if root.folder.is_relative_to(target.real):
                yield _Scope(root.id)
            elif target.real.is_relative_to(root.folder):
                path = _stored_path(target.real, root)
                yield _Scope(root.id, path, path + b"\0")  # itself: a file
                yield _Scope(root.id, path + b"/", path + b"0")  # what is in it: "0" comes after "/"

    def _unseen(self, columns: str, table: str, scope: _Scope) -> list[tuple[Any, ...]]:
        return self._writer.execute(
            f"SELECT {columns} FROM {table} t WHERE root = :root AND path >= :low"
            " AND (:high IS NULL OR path < :high)"
            + (" AND state <> 2" if table == "pictures" else "")
            + " AND NOT EXISTS (SELECT 1 FROM temp.seen s WHERE s.root = t.root AND s.path = t.path)",
            scope._asdict(),
        )

    @property
    def seen(self) -> int:
        return self._count("temp.seen")

    @property
    def unchanged(self) -> int:
        return self._count(_UNCHANGED)

    @property
    def without_facts(self) -> int:
        """Pictures that are to be read for their facts alone, unless they have changed."""
        return self._count("temp.todo WHERE needs_facts")

    @property
    def known_failures(self) -> int:
        """Failures that are as they were, and so not tried again."""
        return self._count(_SAME_FAILURE)

    @property
    def todo(self) -> int:
        return self._count("temp.todo")

    @property
    def gone(self) -> int:
        """Rows whose picture is gone from the targets, and not found under another name so far."""
        return self._count(GONE_ROWS)

    @property
    def excluded(self) -> int:
        """Rows whose picture is there, but left out now."""
        return self._count(EXCLUDED_ROWS)

    @property
    def wanted_again(self) -> int:
        """Rows set aside whose picture is no longer left out."""
        return self._count(WANTED_AGAIN_ROWS)

    def _count(self, source: str) -> int:
        [(count,)] = self._writer.execute(f"SELECT count(*) FROM {source}", self._options)
        return int(count)

    def items(self) -> Iterator[Item]:
        """The files to be read, in order."""
        last = 0
        while page := self._writer.execute(
            "SELECT * FROM temp.todo WHERE id > ? ORDER BY id LIMIT ?", (last, _PAGE)
        ):
            for _, root, path, *rest in page:
                yield Item(root, path, self._roots[root].locate(path), *rest)
            last = page[-1][0]

    def knows(self, digest: bytes) -> bool | None:
        """Whether the index had the facts of such content before this run; None: nor its embedding.

        Safe to ask from any thread.
        """
        found = self._row_with(digest)
        return None if found is None else found[2]

    def take(self, digest: bytes) -> tuple[int, bool]:
        """A row with such content, and whether its own picture is gone: it has moved, and is taken once."""
        found = self._row_with(digest)
        assert found is not None, "ask `knows` first"
        row, is_gone, _ = found
        if is_gone:
            self._writer.execute("DELETE FROM temp.gone WHERE row = ?", (row,))
        return row, is_gone

    def _row_with(self, digest: bytes) -> tuple[int, bool, bool] | None:
        rows = self._writer.execute(
            "SELECT p.row, g.row IS NOT NULL, p.has_facts FROM pictures p LEFT JOIN temp.gone g USING (row)"
            " WHERE digest = ? AND p.row < ? ORDER BY 2 DESC, state, p.row LIMIT 1",
            (digest, self._first_new_row),
        )
        return (rows[0][0], bool(rows[0][1]), bool(rows[0][2])) if rows else None


def _stored_path(path: Path, root: Root) -> bytes:
    """The path from a root on as the index writes it; empty for the root itself."""
    return os.fsencode(path.relative_to(root.folder).as_posix()) if path != root.folder else b""
