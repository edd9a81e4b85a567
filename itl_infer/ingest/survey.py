"""Compare folders with an index: which files are new or changed, which are known, which rows lost theirs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from itl_infer.errors import FolderError
from itl_infer.files import one_form
from itl_infer.index.remembered import exclude, include_again, place_then
from itl_infer.index.roots import Root, stored_path
from itl_infer.index.schema import RowState
from itl_infer.ingest.away import NO_PICTURES, NOT_THERE, WENT_AWAY, Away, Judge
from itl_infer.ingest.folders import remember_folders, remember_system
from itl_infer.ingest.kept import ADD_GONE, GONE_TABLE, IN_SCOPE, Kept, Scope
from itl_infer.ingest.target import Target
from itl_infer.walk import Entered, Exclusion

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
    GONE_TABLE,
    "CREATE TEMP TABLE vanished (root INTEGER, path BLOB, PRIMARY KEY (root, path)) WITHOUT ROWID",
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


class Survey:
    """What `look` finds. It changes nothing of the index but what it remembers of folders, from the next commit on."""

    def __init__(self, writer: Writer, *, max_megapixels: float, retry_failed: bool) -> None:
        self._writer = writer
        self._options = {"max_megapixels": max_megapixels, "retry_failed": retry_failed}
        self._roots = writer.roots()
        self._first_new_row = writer.state.rows
        self._places: dict[str, tuple[int, bytes]] = {}
        self._forms: set[tuple[int, str]] | None = None  # of seen names with accents, once they are asked for
        for table in _TABLES:
            writer.execute(table)
        self._walked: list[Target] = []
        self.looked_at: list[Target] = []  # of those that were walked, all that are not away
        self.vanished_others: set[tuple[int, bytes]] = set()  # files that failed or were left out before
        self.missing: list[Root] = []  # remembered folders that are not there, or empty
        self.kept = Kept(writer)

    def look(self, targets: Sequence[Target], *, prune: bool) -> None:
        """Walk the targets and compare.

        Raises FolderError where all of them are not there, or lost all pictures, unless `prune`.
        """
        self._offer_missing_roots()
        found: dict[Target, int] = {}
        unseen: list[Away] = []
        for target in targets:
            if target.exists() or prune:
                found[target] = self._see(target)
            else:
                unseen.append(self._keep_target(target, NOT_THERE))
        self._walked = list(found)
        for target, files in found.items():
            away = self._compare(target, files, prune=prune)
            if away is None:
                self.looked_at.append(target)
            else:
                unseen.append(away)
        if unseen and not self.looked_at:
            raise FolderError("; ".join(self.kept.describe(away) for away in unseen))
        self._writer.execute(_FILL_TODO, self._options)

    def _offer_missing_roots(self) -> None:
        """Pictures of folders that are not there may turn up under the targets, but are not dropped for that."""
        self.missing = [root for root in self._roots.values() if root.is_missing()]
        self._writer.executemany(
            "INSERT INTO temp.gone SELECT row, FALSE, NULL FROM pictures WHERE root = ? AND state = 0",
            [(root.id,) for root in self.missing],
        )

    def _see(self, target: Target) -> int:
        """Note the files of a target; how many there are."""
        is_folder = target.walk is not None
        root = self.root_of(target.folder)
        new = None
        if root is None and target.exists():
            root = new = self._writer.add_root(target.folder, is_whole=is_folder)
            self._roots[root.id] = root
            self._places.clear()
        elif root is not None and is_folder and root.folder == target.folder and not root.is_whole:
            self._writer.make_whole(root)
        found = self._writer.executemany(
            "INSERT OR REPLACE INTO temp.seen VALUES (?, ?, ?, ?)",
            ((*self._place(file.path), file.size, file.mtime_ns) for file in target.files()),
        )
        if new is not None and not found and not self._scopes_inside(target.real, new):
            self._writer.forget_root(new.id)
            del self._roots[new.id]
            self.kept.add(Away(str(target.path), NO_PICTURES))
        return found

    def _scopes_inside(self, folder: Path, but: Root) -> bool:
        """Whether other roots lie in a folder."""
        return any(root.id != but.id and root.folder.is_relative_to(folder) for root in self._roots.values())

    def root_of(self, folder: Path) -> Root | None:
        """The innermost root that covers a folder."""
        covering = [root for root in self._roots.values() if folder.is_relative_to(root.folder)]
        return max(covering, key=lambda root: len(root.folder.parts), default=None)

    def _place(self, path: str) -> tuple[int, bytes]:
        """The root of a file, and its path from there on."""
        folder, name = os.path.split(path)
        if folder not in self._places:
            root = self.root_of(Path(folder))
            assert root is not None
            self._places[folder] = (root.id, stored_path(Path(folder), root))
        root_id, prefix = self._places[folder]
        return root_id, prefix + b"/" * bool(prefix) + os.fsencode(name)

    def _compare(self, target: Target, files: int, *, prune: bool) -> Away | None:
        """Sort out what a target covers and was not seen; what the target is away as, as a whole.

        Kept, unless `prune`, are pictures of what is away (`Judge`), and of a remembered folder somewhere in the
        target that has none left. Two names that differ in the form of their accents alone are one, where the system
        finds both.
        """
        judge, top = self._judge(target), str(target.real)
        kept: dict[Away, list[tuple[int, RowState]]] = {}
        gone: list[tuple[int, RowState]] = []
        excluded: list[tuple[int]] = []
        for scope in self._scopes(target.real):
            root = self._roots[scope.root]
            has_any = self._has_seen_in(root.folder)
            lost: list[tuple[int, RowState, str]] = []
            for row, path, state in self._unseen("row, path, state", "pictures", scope):
                folder = os.path.dirname(root.locate(path))  # noqa: PTH120 (names here are plain strings)
                is_there = root.has_file(path)
                has_any = has_any or is_there is not False
                if is_there is False or (is_there is None and prune) or self._has_other_form(root, path):
                    lost.append((row, state, folder))
                elif away := judge.unlisted(folder, top):
                    if not prune:
                        kept.setdefault(away, []).append((row, state))
                elif is_there and state == RowState.LIVE:
                    excluded.append((row,))
            is_away = target.real in root.folder.parents and not has_any
            for row, state, folder in lost:
                away = Away(str(root.folder), NO_PICTURES) if is_away else judge.away(folder, top)
                if away is None or prune:
                    gone.append((row, state))
                else:
                    kept.setdefault(away, []).append((row, state))
        has_lost = any(state == RowState.LIVE for _, state in chain(gone, *kept.values()))
        # A file loses none, unless it stands where a folder was.
        if has_lost and not prune and (not files or target.walk is None):
            return self._keep_target(target, dict(self.problems).get(top, NO_PICTURES))
        if target.went_away():
            return self._keep_target(target, WENT_AWAY)
        for away, rows in kept.items():
            self.kept.add(away, rows)
        self._writer.executemany(ADD_GONE, ((row,) for row, _ in gone))
        self._writer.executemany("INSERT OR IGNORE INTO temp.excluded VALUES (?)", excluded)
        for scope in self._scopes(target.real):
            for table in ("failures", "left_out"):
                self.vanished_others.update(self._unseen("root, path", table, scope))
        return None

    def _judge(self, target: Target, entered: Mapping[str, Entered] = MappingProxyType({})) -> Judge:
        def then(folder: str) -> Entered | None:
            if folder in entered:
                return entered[folder]
            root = self.root_of(Path(folder))
            return (
                None if root is None else place_then(self._writer, root.id, stored_path(Path(folder), root))
            )

        problems = dict(target.walk.problems if target.walk else ())
        return Judge(then, lambda folder: self._has_seen_in(Path(folder)), problems)

    def _keep_target(self, target: Target, reason: str) -> Away:
        """Keep all that a target covers."""
        away = Away(str(target.path), reason)
        self.kept.add_scopes(away, self._scopes(target.real))
        return away

    def exclude(self, globs: Sequence[str], taken_back: Iterable[Exclusion]) -> None:
        """Remember what is left out of the targets, and forget what is no more."""
        for exclusion in taken_back:
            folder = Path(exclusion.folder)
            if (root := self.root_of(folder)) is not None:
                include_again(self._writer, root.id, stored_path(folder, root), exclusion.glob)
        for target in self.looked_at:
            root = self.root_of(target.real)
            if target.walk is None or root is None:
                continue
            for glob in globs:
                exclude(self._writer, root.id, stored_path(target.real, root), glob)

    def note_vanished(self, item: Item) -> None:
        """A file that was seen, and was not there any more when it was to be read."""
        self._writer.execute("INSERT OR IGNORE INTO temp.vanished VALUES (?, ?)", (item.root, item.path))

    def judge_vanished(self) -> Iterator[tuple[int, bytes, bool]]:
        """What vanished meanwhile and was deleted: root, path, whether it was a picture; what is away is kept."""
        for target in self.looked_at:
            if target.went_away():
                self._keep_target(target, WENT_AWAY)
                continue
            judge = self._judge(target, target.walk.entered if target.walk else {})
            for scope in self._scopes(target.real):
                vanished = self._writer.execute(
                    "SELECT v.root, v.path, p.row, p.state FROM temp.vanished v LEFT JOIN pictures p"
                    " ON p.root = v.root AND p.path = v.path AND p.state <> 2"
                    " WHERE v.root = :root AND v.path >= :low AND (:high IS NULL OR v.path < :high)",
                    scope._asdict(),
                )
                for root, path, row, state in vanished:
                    folder = os.path.dirname(self._roots[root].locate(path))  # noqa: PTH120
                    away = judge.away(folder, str(target.real))
                    if away is None:
                        yield root, path, state == RowState.LIVE
                    elif row is not None:
                        self.kept.add(away, [(row, state)])

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Folders that could not be listed, and why."""
        walks = [target.walk for target in self._walked if target.walk is not None]
        return list(dict.fromkeys(problem for walk in walks for problem in walk.problems))

    def remember_folders(self) -> None:
        """Note how folders are now, and what of a system's was left out of them."""
        remember_folders(self._writer, self.looked_at, self._places, self.root_of)
        remember_system(self._writer, self.looked_at, self._roots.values())

    def locate(self, root: int, path: bytes) -> str:
        return self._roots[root].locate(path)

    def paths_of(self, rows: str) -> list[str]:
        """The paths of the pictures of all that SELECT row FROM `rows` gives."""
        found = self._writer.execute(
            f"SELECT root, path FROM pictures WHERE row IN (SELECT row FROM {rows}) AND state <> 2",
            self._options,
        )
        return [self.locate(root, path) for root, path in found]

    def _has_other_form(self, root: Root, path: bytes) -> bool:
        """Whether the file at a path that was not seen was, by the same name in another form of its accents."""
        if path.isascii():
            return False
        if self._forms is None:
            self._forms = {
                (number, one_form(os.fsdecode(seen)))
                for number, seen in self._writer.execute("SELECT root, path FROM temp.seen")
                if not seen.isascii()
            }
        return (root.id, one_form(os.fsdecode(path))) in self._forms

    def _has_seen_in(self, folder: Path) -> bool:
        """Whether a file was seen in a folder, at any depth."""
        return any(
            self._writer.execute(f"SELECT 1 FROM temp.seen {IN_SCOPE} LIMIT 1", scope._asdict())
            for scope in self._scopes(folder)
        )

    def _scopes(self, folder: Path) -> Iterator[Scope]:
        for root in self._roots.values():
            if root.folder.is_relative_to(folder):
                yield Scope(root.id)
            elif folder.is_relative_to(root.folder):
                path = stored_path(folder, root)
                yield Scope(root.id, path, path + b"\0")  # itself: a file
                yield Scope(root.id, path + b"/", path + b"0")  # what is in it: "0" comes after "/"

    def _unseen(self, columns: str, table: str, scope: Scope) -> list[tuple[Any, ...]]:
        return self._writer.execute(
            f"SELECT {columns} FROM {table} t {IN_SCOPE}"
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
