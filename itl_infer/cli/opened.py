"""What commands open: the bundle, the index, a searcher over it, a sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from itl_infer.cli.options import DEFAULT_TOP, FILTERS, TOP_OF_A_SHEET
from itl_infer.cli.output import failure, note
from itl_infer.store import is_collection

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle
    from itl_infer.search import Answer, Searcher, Sort
    from itl_infer.store import Store
    from itl_infer.teaching import Names
    from itl_infer.where import Orientation, Where


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How to search, as the options of `query`, `similar` and `batch` say. UsageError for a filter that is wrong."""

    top: int | None
    min_score: float | None
    relevant: bool
    dedupe: bool
    dedupe_from: float | None
    explain: bool
    sheet_path: Path | None
    under: tuple[str, ...]
    name: tuple[str, ...]
    taken: str | None
    newer: str | None
    older: str | None
    camera: tuple[str, ...]
    orientation: Orientation | None
    gps: bool | None
    sort: Sort
    truth: str | None = None

    def __post_init__(self) -> None:
        self.where()

    def where(self) -> Where | None:
        """The filter; None where none is given."""
        return where_of({name: getattr(self, name) for name in FILTERS})

    def searcher(self, store: Store, names: Names | None = None) -> Searcher:
        from itl_infer import search

        where = self.where()
        if where:
            _note_missing_facts(store)
        dedupe = self.dedupe_from
        if self.dedupe and dedupe is None:
            dedupe = search.NEAR_DUPLICATE
        return search.Searcher(
            store,
            self.top or (TOP_OF_A_SHEET if self.sheet_path else DEFAULT_TOP),
            truth=self.truth,
            explain=self.explain,
            min_score=self.min_score,
            relevant=self.relevant,
            dedupe=dedupe,
            names=names,
            where=where,
            sort=self.sort,
        )


def _note_missing_facts(store: Store) -> None:
    """Why a filter may find less than it should, of an index that a person can bring up to date."""
    from itl_infer.index import Index

    if isinstance(store, Index) and store.path != store.require_bundle().gallery_index_path:
        missing = store.facts.missing()
        if missing:
            note(
                f"{missing} of {len(store)} pictures were embedded by an earlier version, and have no date, camera and"
                f" size yet: itl-infer embed-images -d {store.path} reads them"
            )


def where_of(filters: Mapping[str, Any]) -> Where | None:
    """What the options of `filter_options` say; None where none is given. UsageError for one that is wrong."""
    if all(value in ((), None) for value in filters.values()):
        return None
    from itl_infer.where import Where

    try:
        return Where(**filters)
    except ValueError as error:
        raise click.UsageError(f"--{error}.") from error


def open_bundle(path: Path | None, threads: int | None = None) -> Bundle:
    from itl_infer.bundle import load_bundle

    return load_bundle(path, threads=threads)


def open_store(location: str | None, bundle: Bundle) -> Store:
    """What is to be searched, or else the pictures that come with the bundle."""
    if location is not None:
        from itl_infer.opening import open_store

        store = open_store(location, bundle)
        click.get_current_context().call_on_close(store.close)
        return store
    from itl_infer.index import Index

    if bundle.gallery_index_path is None:
        raise failure(
            f"no index named, and the bundle {bundle.name} has no pictures of its own: make an index with"
            " `itl-infer embed-images PICTURES -d photos.itl`, and name it with -d or ITL_INDEX"
        )
    index = Index.open(bundle.gallery_index_path, bundle, mode="r")
    note(
        f"Searching the {len(index)} pictures that come with the bundle {bundle.name}."
        " Your own: itl-infer embed-images PICTURES -d photos.itl, then query -d photos.itl."
    )
    return index


def open_names(path: Path | None, bundle: Bundle) -> Names | None:
    """The names of an index, or of a file of them, that were taught with this bundle."""
    if path is None:
        return None
    if path.is_dir():
        from itl_infer.index import Index

        return Index.open(path, bundle, mode="r").names
    from itl_infer.teaching.file import read_names

    found = read_names(path)
    if found.fingerprint != bundle.fingerprint:
        raise failure(
            f"{path}: taught with bundle {found.bundle_name!r} ({found.fingerprint[:12]}), not with {bundle.name!r}"
            f" ({bundle.fingerprint[:12]}): give that one with --bundle"
        )
    return found.names


def require_index_path(path: Path | None, mend: str = "Name the index") -> Path:
    """The folder of an index, which a collection of Milvus is not."""
    if path is None:
        raise click.UsageError(f"{mend}: -d photos.itl, or set ITL_INDEX.")
    if is_collection(path):
        raise click.UsageError(f"A collection of Milvus will not do here. {mend}: -d photos.itl.")
    return path


def check_sheet(path: Path | None) -> None:
    """Before anything is embedded."""
    if path is not None:
        from itl_infer.show.sheet import require_sheet_name

        require_sheet_name(path)


def write_sheet(answers: Sequence[Answer], path: Path | None) -> None:
    if path is not None and answers:
        from itl_infer.show import sheet

        sheet.write_sheet(answers, path)
        note(f"Sheet: {path}")
