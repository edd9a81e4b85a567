"""Index: the embeddings and paths of a person's pictures, to search and to keep in step with folders."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from itl_infer import teaching
from itl_infer.arguments import (
    require_bundle,
    require_flags,
    require_one_of,
    require_path,
    require_several,
    require_text,
)
from itl_infer.errors import IndexStoreError
from itl_infer.index import schema
from itl_infer.index.facts import FactsOfRows
from itl_infer.index.paths import Paths
from itl_infer.index.roots import Root
from itl_infer.index.schema import State
from itl_infer.index.snapshot import Snapshot, empty_snapshot, take_snapshot
from itl_infer.vectors import as_row, as_rows

# The writer is imported where one is made: a reader does without it.
if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.index.teach import TeachReport
    from itl_infer.index.writer import Writer
    from itl_infer.teaching import Names
    from itl_infer.where import Where


@dataclass(frozen=True)
class SearchResult:
    """One picture found."""

    rank: int  # from 1, best first
    score: float  # cosine with the query
    path: str  # absolute


class Index:
    """An index as it was when opened, or at the last `refresh` or `writing`. Open it with `Index.open`.

    Safe to use from several threads, and while other processes read and write the same index.
    """

    def __init__(self, path: Path, bundle: Bundle | None, writable: bool, snapshot: Snapshot) -> None:
        self.path = path
        self.bundle = bundle
        self._writable = writable
        self._snapshot = snapshot
        self._followed: tuple[int, int] | None = None

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], bundle: Bundle | None = None, *, mode: Literal["r", "w"] = "w"
    ) -> Index:
        """Open the index folder at `path`; reading never writes to it, nor waits for a writer.

        With mode "w" it may be a new one, which the first writing makes, if there is a bundle; with "r" it
        must exist. A bundle is needed to embed, and to search by text. Raises IndexStoreError for an index
        that is missing, damaged, of a newer format, or made with another bundle than the one given.
        """
        require_path("path", path)
        require_one_of("mode", mode, ("r", "w"))
        if bundle is not None:
            require_bundle(bundle)
        path = Path(path)
        return cls(path, bundle, mode == "w", _take_snapshot(path, bundle, may_be_new=mode == "w"))

    @classmethod
    def rebuild(
        cls, path: str | os.PathLike[str], bundle: Bundle, *, prune: bool = False, wait: bool = False
    ) -> Index:
        """Empty the index at `path` and bind it to another bundle; `ingest.embed_again` also fills it.

        Raises IndexStoreError where a folder that it remembers is missing, unless `prune` says that it is
        gone for good: what is embedded of it would be lost.
        """
        from itl_infer.index.writer import open_writer

        require_path("path", path)
        require_bundle(bundle)
        require_flags(prune=prune, wait=wait)
        path = Path(path)
        with open_writer(path, bundle, wait=wait) as writer:
            missing = [root for root in writer.roots().values() if root.is_missing()]
            if missing and not prune:
                raise IndexStoreError(
                    f"{path}: {missing[0].folder} is missing and could not be embedded again, nothing was"
                    " changed: plug the drive in or, where it is gone for good, --prune"
                )
            writer.start_over(bundle)
            for root in missing:
                writer.forget_root(root.id)
            writer.commit()
        return cls.open(path, bundle)

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """(N, D) unit rows, read-only; mapped from the disk, not loaded."""
        return self._snapshot.embeddings

    @property
    def paths(self) -> Paths:
        """The absolute path of each row; looked up when asked for."""
        return self._snapshot.paths

    @property
    def facts(self) -> FactsOfRows:
        """The facts of each row: when and with what it was taken, its size; None where a run has yet to read them."""
        return self._snapshot.facts

    @property
    def snapshot(self) -> Snapshot:
        """Embeddings and paths of one moment, which belong together whatever `refresh` does meanwhile."""
        return self._snapshot

    def search(
        self, query: str | npt.NDArray[np.float32], k: int = 10, *, where: Where | None = None
    ) -> list[SearchResult]:
        """The k pictures nearest to a text, or to a unit embedding (D,), best first; of those that `where` means.

        Raises QueryError for a text without a single known word, ValueError for k < 1.
        """
        query = self._embed_query(query) if isinstance(query, str) else as_row("query", query)
        return self.search_many(query[None], k, where=where)[0]

    def search_many(
        self, queries: npt.NDArray[np.float32], k: int = 10, *, where: Where | None = None
    ) -> list[list[SearchResult]]:
        """`search` for each row of `queries` (Q, D): the same results, far faster than one by one."""
        queries, snapshot = as_rows("queries", queries), self._snapshot
        return [
            [
                SearchResult(rank, score, snapshot.path_of(row))
                for rank, (row, score) in enumerate(best, start=1)
            ]
            for best in snapshot.nearest(queries, k, where)
        ]

    def _embed_query(self, text: str) -> npt.NDArray[np.float32]:
        return teaching.embed_text(self.require_bundle(), text, self.names)

    @property
    def names(self) -> Names:
        """The names that were taught, in whatever case they are asked for: a mapping to their examples."""
        return self._snapshot.names

    def teach(
        self,
        name: str,
        paths: Iterable[str | os.PathLike[str]],
        against: Iterable[str | os.PathLike[str]] = (),
        *,
        replace: bool = False,
        wait: bool = False,
    ) -> TeachReport:
        """Teach a name from pictures: files, folders, or pictures of the index; `against` show it not.

        Adds to what the name knows, or with `replace` starts over. Each content counts once. Pictures of the index
        cost nothing, others are embedded, and need not be in it. What cannot be read is in `failed` of the report.
        Raises TeachError for a name that is none, a path that is nowhere, or where no picture is left that shows it,
        and IndexStoreError where the index is not there, or another process is writing it, unless told to `wait`.
        """
        from itl_infer.index.teach import teach

        name, bundle = teaching.require_name(name), self.require_bundle()
        require_flags(replace=replace)
        for which, given in (("paths", paths), ("against", against)):
            if isinstance(given, (str, os.PathLike)):
                raise TypeError(f"{which} is a list of paths: teach(name, [path])")
        paths = require_several("paths", paths, "paths", require_path)
        against = require_several("against", against, "paths", require_path)
        with self.writing(wait=wait) as writer:
            return teach(writer, bundle, name, paths, against, replace=replace)

    def forget(self, name: str, *, wait: bool = False) -> None:
        """Forget a name and its examples; the pictures stay. Raises TeachError where there is no such name."""
        from itl_infer.index.teach import forget

        require_text("name", name)
        with self.writing(wait=wait) as writer:
            forget(writer, name)

    def separation(self, name: str) -> float | None:
        """The leave-one-out precision of a name among all pictures: 1 where each example is found first by the others.

        None where there are not two examples. Raises KeyError where there is no such name.
        """
        from itl_infer.teaching.separation import separation

        require_text("name", name)
        snapshot = self._snapshot
        return separation(snapshot.names[name], snapshot.embeddings)

    def export_names(self, path: str | os.PathLike[str]) -> None:
        """Write all names with their examples to a file. Raises TeachError where it cannot be written."""
        from itl_infer.teaching.file import write_names

        require_path("path", path)
        state = self.state
        write_names(path, self.names, self._snapshot.moments, state.bundle_name, state.bundle_fingerprint)

    def import_names(self, path: str | os.PathLike[str], *, wait: bool = False) -> int:
        """Take in the names of a file, beside the examples that are known; how many they are.

        Raises TeachError where the file cannot be read, or is of another bundle.
        """
        from itl_infer.index.teach import import_names

        require_path("path", path)
        with self.writing(wait=wait) as writer:
            return import_names(writer, path)

    def require_bundle(self) -> Bundle:
        """The bundle; IndexStoreError where the index was opened without one."""
        if self.bundle is None:
            raise IndexStoreError(f"{self.path}: opened without a bundle: Index.open(path, load_bundle())")
        return self.bundle

    @property
    def roots(self) -> list[Root]:
        """The folders whose pictures the index has."""
        return list(self._snapshot.roots.values())

    @property
    def state(self) -> State:
        """What the index is made of: generation, rows, bundle."""
        return self._snapshot.state

    def refresh(self) -> None:
        """Turn to what is committed now."""
        self._snapshot = _take_snapshot(self.path, self.bundle, may_be_new=self._writable)

    def follow(self) -> None:
        """`refresh` if something was committed since; what cannot be read now stays as it was.

        Rebuilt with another bundle, or gone, for example: what was read stays true to the old one.
        """
        try:
            status = (self.path / schema.DATABASE).stat()
        except OSError:
            return
        stamp = status.st_mtime_ns, status.st_size  # which every commit changes
        if stamp != self._followed:
            with contextlib.suppress(IndexStoreError):
                self.refresh()
                self._followed = stamp

    def close(self) -> None:
        """Nothing: what is mapped goes with the last array over it. Other stores hold a connection."""

    @contextlib.contextmanager
    def writing(self, *, wait: bool = False) -> Iterator[Writer]:
        """Be the index's one writer. Raises IndexStoreError where another is, unless told to `wait`."""
        require_flags(wait=wait)
        if not self._writable:
            raise IndexStoreError(f'{self.path}: opened to read only: Index.open(path, bundle, mode="w")')
        from itl_infer.index.writer import open_writer

        with open_writer(self.path, self.bundle, wait=wait) as writer:
            _require_same_bundle(self.path, writer.state, self.bundle)
            try:
                yield writer
            except BaseException:
                with contextlib.suppress(IndexStoreError):  # the first error says more
                    self.refresh()
                raise
            self.refresh()


def _take_snapshot(path: Path, bundle: Bundle | None, *, may_be_new: bool) -> Snapshot:
    try:
        snapshot = take_snapshot(path)
    except schema.NoIndexError:
        if bundle is None or not may_be_new:
            raise
        return empty_snapshot(bundle.embed_dim, bundle.name, bundle.fingerprint)
    _require_same_bundle(path, snapshot.state, bundle)
    return snapshot


def _require_same_bundle(path: Path, state: State, bundle: Bundle | None) -> None:
    if bundle is None:
        return
    if bundle.fingerprint == state.bundle_fingerprint and bundle.embed_dim != state.embed_dim:
        raise IndexStoreError(
            f"{path}: says that its rows have {state.embed_dim} numbers, those of bundle {bundle.name!r} have"
            f" {bundle.embed_dim}: itl-infer check --repair"
        )
    if bundle.fingerprint != state.bundle_fingerprint:
        raise IndexStoreError(
            f"{path}: made with bundle {state.bundle_name!r} ({state.bundle_fingerprint[:12]}), not with"
            f" {bundle.name!r} ({bundle.fingerprint[:12]}): give that one with --bundle, or embed all again"
            " with embed-images --rebuild"
        )
