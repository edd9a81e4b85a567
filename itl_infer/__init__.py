"""Text-to-image search that runs anywhere a CPU does: embed folders of pictures, ask in words.

Importing this costs nothing: each name below brings in what it needs when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itl_infer.lazy import lazy_names

if TYPE_CHECKING:
    from itl_infer.bundle import Bundle as Bundle
    from itl_infer.bundle import load_bundle as load_bundle
    from itl_infer.bundle import verify_bundle as verify_bundle
    from itl_infer.errors import BundleError as BundleError
    from itl_infer.errors import CaptionsError as CaptionsError
    from itl_infer.errors import ClusterError as ClusterError
    from itl_infer.errors import FolderError as FolderError
    from itl_infer.errors import ImageError as ImageError
    from itl_infer.errors import ImageMemoryError as ImageMemoryError
    from itl_infer.errors import IndexStoreError as IndexStoreError
    from itl_infer.errors import ItlError as ItlError
    from itl_infer.errors import MissingExtraError as MissingExtraError
    from itl_infer.errors import PreviewError as PreviewError
    from itl_infer.errors import PublishError as PublishError
    from itl_infer.errors import QueryError as QueryError
    from itl_infer.errors import ReaderMissingError as ReaderMissingError
    from itl_infer.errors import SheetError as SheetError
    from itl_infer.errors import TeachError as TeachError
    from itl_infer.evaluation import Evaluation as Evaluation
    from itl_infer.evaluation import LabelledEvaluation as LabelledEvaluation
    from itl_infer.evaluation import evaluate_bundle as evaluate_bundle
    from itl_infer.evaluation import evaluate_index as evaluate_index
    from itl_infer.evaluation import evaluate_labelled as evaluate_labelled
    from itl_infer.index import Index as Index
    from itl_infer.index import SearchResult as SearchResult
    from itl_infer.ingest import Change as Change
    from itl_infer.ingest import Report as Report
    from itl_infer.ingest import embed_directory as embed_directory
    from itl_infer.ingest import watch as watch
    from itl_infer.opening import open_store as open_store
    from itl_infer.publish import Originals as Originals
    from itl_infer.publish import Publication as Publication
    from itl_infer.publish import PublishReport as PublishReport
    from itl_infer.publish import check_published as check_published
    from itl_infer.ranking import Codes as Codes
    from itl_infer.ranking import quantize_rows as quantize_rows
    from itl_infer.ranking import rank as rank
    from itl_infer.search import Answer as Answer
    from itl_infer.search import Searcher as Searcher
    from itl_infer.search.query import Query as Query
    from itl_infer.search.same import Duplicates as Duplicates
    from itl_infer.search.same import find_duplicates as find_duplicates
    from itl_infer.show.sheet import write_sheet as write_sheet
    from itl_infer.store import Store as Store
    from itl_infer.teaching import teach as teach
    from itl_infer.where import Where as Where

__version__ = "0.1.0"

_MODULES = {
    "bundle": ("Bundle", "load_bundle", "verify_bundle"),
    "errors": (
        *("BundleError", "CaptionsError", "ClusterError", "FolderError"),
        *("ImageError", "ImageMemoryError", "IndexStoreError", "ItlError", "MissingExtraError"),
        *("PreviewError", "PublishError", "QueryError", "ReaderMissingError", "SheetError", "TeachError"),
    ),
    "evaluation": (
        *("Evaluation", "LabelledEvaluation"),
        *("evaluate_bundle", "evaluate_index", "evaluate_labelled"),
    ),
    "index": ("Index", "SearchResult"),
    "ingest": ("Change", "Report", "embed_directory", "watch"),
    "opening": ("open_store",),
    "publish": ("Originals", "Publication", "PublishReport", "check_published"),
    "ranking": ("Codes", "quantize_rows", "rank"),
    "search": ("Answer", "Query", "Searcher"),
    "search.same": ("Duplicates", "find_duplicates"),
    "show.sheet": ("write_sheet",),
    "store": ("Store",),
    "teaching": ("teach",),
    "where": ("Where",),
}

__all__ = ["__version__", *sorted(name for names in _MODULES.values() for name in names)]

__getattr__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return __all__
