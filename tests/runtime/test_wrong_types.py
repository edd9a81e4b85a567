"""What is of the wrong type is refused where it comes in, by every public function: a line says what was wanted."""

from __future__ import annotations

import dis
import inspect
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import itl_infer
from itl_infer import (
    Index,
    ItlError,
    Originals,
    Publication,
    Query,
    Searcher,
    Where,
    check_published,
    embed_directory,
    evaluate_bundle,
    evaluate_index,
    evaluate_labelled,
    find_duplicates,
    load_bundle,
    open_store,
    quantize_rows,
    rank,
    teach,
    verify_bundle,
    watch,
    write_sheet,
)
from tests.tiny_bundle import make_tiny_bundle, save_colours

ROWS = np.eye(4, 128, dtype=np.float32)
TEXTS = np.array(["a"])

# What is none of each kind. None is in those that have no default of None.
WRONG: dict[str, list[Any]] = {
    "whole": [1.5, "2", True, [1], {}, b"1", float("nan"), ROWS],
    "number": ["2", True, [1.0], {}, 1j, float("nan"), ROWS],
    "flag": [0, 1, "no", "yes", [], {}, None],
    "text": [5, 1.5, b"red", ["red"], {}, TEXTS],
    "path": [5, 1.5, b"a", ["a"], {}, ROWS],
    "paths": [5, 1.5, b"a", [5], [None], {"a": 1}, None, [b"a"]],
    "texts": ["red", b"red", 5, None, [5], [None], {"red": 1}, [b"red"]],
    "pictures": [
        "a.jpg",
        5,
        None,
        [5],
        [None],
        [1.5],
        [b"a"],
        {"a": 1},
        [{}],
        [io.StringIO("a")],
        [object()],
    ],
    "rows": [5, None, "red", {}, TEXTS, [[1.0], [1.0, 2.0]], np.array([[1j]]), np.array([[None]]), [["a"]]],
    "row": [5, None, {}, TEXTS, [[1.0], [1.0, 2.0]], np.array([1j]), [None], ROWS],
    "pixels": [5, None, "red", [[1]], {}, np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 16, 16, 3))],
    "ids": [5, None, "red", [5], [None], [[1.5]], [["a"]], [{1: "a"}], [{1: None}], {1: 2}],
    "flags": [5, 1.5, "*", None, [5], {}],
    "bundle": [5, "bundle", b"", [], {}, Path("bundle")],
    "index": [5, None, "photos.itl", [], {}, Path("photos.itl")],
    "where": [5, "2019", [], {}, {"taken": 2019}, True],
    "when": [1.5, True, [2019], {}, b"2019", "last year"],
    "call": [5, "print", [], {}],
    "names": [5, "Rex", [], {}],
    "queries": [5, None, "red", b"red", {}, [5], [None], [b"red"]],
    "query": [5, None, 1.5, b"red", [], {}, ROWS[0]],
    "weighted": [5, "red", None, ["red"], [5], [(1.0,)], [("red", 1.0)], [(None, "red")], [(1.0, None)]],
    "answers": [5, None, "red", [5], [None], {}],
    "choice": [5, "x", b"r", [], {}, ROWS],
    "mask": [5, "red", [True], ROWS, np.ones(4), np.ones(3, bool)],
    "codes": [5, "red", [], ROWS],
    "array": [5, None, "red", {}],
}


_MADE_BY_THE_PACKAGE = {
    *(
        "Answer",
        "Change",
        "Codes",
        "Duplicates",
        "Evaluation",
        "LabelledEvaluation",
        "Originals",
        "PublishReport",
    ),
    *("Report", "SearchResult", "Store"),
}


class Given(NamedTuple):
    """What calls are made with where it is not the one that is wrong."""

    folder: Path
    bundle: itl_infer.Bundle
    index: Index


Call = Callable[[Given, Any], Any]
CALLS: list[tuple[str, str, Call]] = [
    ("load_bundle path", "path", lambda _, x: load_bundle(x)),
    ("load_bundle threads", "whole", lambda g, x: load_bundle(g.bundle.path, threads=x)),
    ("Bundle path", "path", lambda _, x: itl_infer.Bundle(x)),
    ("verify_bundle path", "path", lambda _, x: verify_bundle(x)),
    ("verify_bundle threads", "whole", lambda g, x: verify_bundle(g.bundle.path, threads=x)),
    ("embed_images images", "pictures", lambda g, x: g.bundle.embed_images(x)),
    ("embed_images limit", "number", lambda g, x: g.bundle.embed_images([_picture()], max_megapixels=x)),
    ("embed_pixels pixels", "pixels", lambda g, x: g.bundle.embed_pixels(x)),
    ("embed_pixels batch", "whole", lambda g, x: g.bundle.embed_pixels(_pixels(), batch_size=x)),
    ("embed_texts texts", "texts", lambda g, x: g.bundle.embed_texts(x)),
    ("embed_ids rows", "ids", lambda g, x: g.bundle.embed_ids(x)),
    ("parse_text text", "text", lambda g, x: g.bundle.parse_text(x)),
    ("knows_as_written words", "texts", lambda g, x: g.bundle.knows_as_written(x)),
    ("parse_query text", "text", lambda g, x: g.bundle.parse_query(x)),
    ("read_as text", "text", lambda g, x: g.bundle.read_as(x)),
    ("carried_words letters", "text", lambda g, x: g.bundle.carried_words(x)),
    ("suggest_words word", "text", lambda g, x: g.bundle.suggest_words(x)),
    ("complete_word prefix", "text", lambda g, x: g.bundle.complete_word(x)),
    ("describe_unknown words", "texts", lambda g, x: g.bundle.describe_unknown(x)),
    ("read_file name", "text", lambda g, x: g.bundle.read_file(x)),
    ("Index.open path", "path", lambda g, x: Index.open(x, g.bundle)),
    ("Index.open bundle", "bundle", lambda g, x: Index.open(g.index.path, x)),
    ("Index.open mode", "choice", lambda g, x: Index.open(g.index.path, g.bundle, mode=x)),
    ("Index.rebuild path", "path", lambda g, x: Index.rebuild(x, g.bundle)),
    ("Index.rebuild bundle", "bundle", lambda g, x: Index.rebuild(g.index.path, x)),
    ("Index.rebuild prune", "flag", lambda g, x: Index.rebuild(g.index.path, g.bundle, prune=x)),
    ("Index.rebuild wait", "flag", lambda g, x: Index.rebuild(g.index.path, g.bundle, wait=x)),
    ("Index.search query", "row", lambda g, x: g.index.search(x)),
    ("Index.search k", "whole", lambda g, x: g.index.search("red", x)),
    ("Index.search where", "where", lambda g, x: g.index.search("red", where=x)),
    ("Index.search_many queries", "rows", lambda g, x: g.index.search_many(x)),
    ("Index.search_many k", "whole", lambda g, x: g.index.search_many(ROWS, x)),
    ("Index.search_many where", "where", lambda g, x: g.index.search_many(ROWS, where=x)),
    ("Index.teach name", "text", lambda g, x: g.index.teach(x, [g.folder])),
    ("Index.teach paths", "paths", lambda g, x: g.index.teach("Rex", x)),
    ("Index.teach against", "paths", lambda g, x: g.index.teach("Rex", [g.folder], x)),
    ("Index.teach replace", "flag", lambda g, x: g.index.teach("Rex", [g.folder], replace=x)),
    ("Index.teach wait", "flag", lambda g, x: g.index.teach("Rex", [g.folder], wait=x)),
    ("Index.forget name", "text", lambda g, x: g.index.forget(x)),
    ("Index.forget wait", "flag", lambda g, x: g.index.forget("Rex", wait=x)),
    ("Index.separation name", "text", lambda g, x: g.index.separation(x)),
    ("Index.export_names path", "path", lambda g, x: g.index.export_names(x)),
    ("Index.import_names path", "path", lambda g, x: g.index.import_names(x)),
    ("Index.import_names wait", "flag", lambda g, x: g.index.import_names(g.folder / "names", wait=x)),
    ("Index.writing wait", "flag", lambda g, x: g.index.writing(wait=x).__enter__()),
    ("open_store location", "path", lambda g, x: open_store(x, g.bundle)),
    ("open_store bundle", "bundle", lambda g, x: open_store(g.index.path, x)),
    ("find_duplicates index", "index", lambda _, x: find_duplicates(x)),
    ("find_duplicates where", "where", lambda g, x: find_duplicates(g.index, where=x)),
    ("Searcher index", "index", lambda _, x: Searcher(x)),
    ("Searcher k", "whole", lambda g, x: Searcher(g.index, k=x)),
    ("Searcher truth", "text", lambda g, x: Searcher(g.index, truth=x)),
    ("Searcher explain", "flag", lambda g, x: Searcher(g.index, explain=x)),
    ("Searcher min_score", "number", lambda g, x: Searcher(g.index, min_score=x)),
    ("Searcher relevant", "flag", lambda g, x: Searcher(g.index, relevant=x)),
    ("Searcher dedupe", "number", lambda g, x: Searcher(g.index, dedupe=x)),
    ("Searcher where", "where", lambda g, x: Searcher(g.index, where=x)),
    ("Searcher sort", "choice", lambda g, x: Searcher(g.index, sort=x)),
    ("Searcher offset", "whole", lambda g, x: Searcher(g.index, offset=x)),
    ("Searcher names", "names", lambda g, x: Searcher(g.index, names=x)),
    ("Searcher.answer query", "query", lambda g, x: Searcher(g.index).answer(x)),
    ("Searcher.answer_many queries", "queries", lambda g, x: Searcher(g.index).answer_many(x)),
    (
        "Searcher.answer_in_steps queries",
        "queries",
        lambda g, x: next(Searcher(g.index).answer_in_steps(x)),
    ),
    ("Searcher.embed_many queries", "queries", lambda g, x: Searcher(g.index).embed_many(x)),
    ("Query text", "text", lambda _, x: Query(x)),
    ("Query images", "pictures", lambda g, x: Query(images=x).embed(g.bundle)),
    ("Query add", "texts", lambda _, x: Query("red", add=x)),
    ("Query subtract", "texts", lambda _, x: Query("red", subtract=x)),
    ("Query weighted", "weighted", lambda _, x: Query("red", weighted=x)),
    (
        "Query image_weight",
        "number",
        lambda g, x: Query(images=[_picture()], image_weight=x).embed(g.bundle),
    ),
    ("Query understand_not", "flag", lambda _, x: Query("red", understand_not=x)),
    ("Query as_word", "flag", lambda _, x: Query("red", as_word=x)),
    ("Query like", "pictures", lambda g, x: Query(like=x).embed(g.bundle)),
    ("Query unlike", "pictures", lambda g, x: Searcher(g.index).answer(Query("red", unlike=x))),
    ("Query.embed bundle", "bundle", lambda _, x: Query("red").embed(x)),
    ("Query.embed names", "names", lambda g, x: Query("red").embed(g.bundle, x)),
    ("Where under", "paths", lambda _, x: Where(under=x)),
    ("Where name", "paths", lambda _, x: Where(name=x)),
    ("Where taken", "when", lambda _, x: Where(taken=x)),
    ("Where newer", "when", lambda _, x: Where(newer=x)),
    ("Where older", "when", lambda _, x: Where(older=x)),
    ("Where camera", "paths", lambda _, x: Where(camera=x)),
    ("Where orientation", "choice", lambda _, x: Where(orientation=x)),
    ("Where gps", "flag", lambda _, x: Where(gps="no" if x is None else x)),
    ("Where.fits_name name", "text", lambda _, x: Where(name="*.jpg").fits_name(x)),
    ("Where.fits_camera camera", "text", lambda _, x: Where(camera="x").fits_camera(x)),
    ("rank queries", "rows", lambda _, x: rank(x, ROWS, 1)),
    ("rank embeddings", "rows", lambda _, x: rank(ROWS, x, 1)),
    ("rank k", "whole", lambda _, x: rank(ROWS, ROWS, x)),
    ("rank among", "mask", lambda _, x: rank(ROWS, ROWS, 1, among=x)),
    ("rank codes", "codes", lambda _, x: rank(ROWS, ROWS, 1, codes=x)),
    ("quantize_rows images", "rows", lambda _, x: quantize_rows(x)),
    ("teach positives", "rows", lambda _, x: teach(x, ROWS)),
    ("teach among", "rows", lambda _, x: teach(ROWS, x)),
    ("teach negatives", "rows", lambda _, x: teach(ROWS, ROWS, "no" if x is None else x)),
    ("write_sheet answers", "answers", lambda g, x: write_sheet(x, g.folder / "sheet.html")),
    ("write_sheet path", "path", lambda _, x: write_sheet([], x)),
    ("embed_directory paths", "paths", lambda g, x: embed_directory(x, g.index)),
    ("embed_directory index", "index", lambda g, x: embed_directory(g.folder, x)),
    ("embed_directory workers", "whole", lambda g, x: embed_directory(g.folder, g.index, workers=x)),
    ("embed_directory batch_size", "whole", lambda g, x: embed_directory(g.folder, g.index, batch_size=x)),
    ("embed_directory exclude", "texts", lambda g, x: embed_directory(g.folder, g.index, exclude=x)),
    ("embed_directory no_exclude", "flags", lambda g, x: embed_directory(g.folder, g.index, no_exclude=x)),
    ("embed_directory limit", "number", lambda g, x: embed_directory(g.folder, g.index, max_megapixels=x)),
    *(
        (
            f"embed_directory {flag}",
            "flag",
            lambda g, x, flag=flag: embed_directory(g.folder, g.index, **{flag: x}),  # type: ignore[misc]
        )
        for flag in ("include_hidden", "include_system", "retry_failed", "prune", "wait")
    ),
    *(
        (
            f"embed_directory {call}",
            "call",
            lambda g, x, call=call: embed_directory(g.folder, g.index, **{call: x}),  # type: ignore[misc]
        )
        for call in ("progress", "announce", "on_change", "pass_over")
    ),
    ("watch paths", "paths", lambda g, x: watch(x, g.index, print)),
    ("watch index", "index", lambda g, x: watch(g.folder, x, print)),
    ("watch on_change", "call", lambda g, x: watch(g.folder, g.index, x)),
    ("watch poll", "number", lambda g, x: watch(g.folder, g.index, print, poll=x)),
    ("watch settle", "number", lambda g, x: watch(g.folder, g.index, print, settle=x)),
    ("watch stop", "names", lambda g, x: watch(g.folder, g.index, print, stop=x)),
    ("watch announce", "call", lambda g, x: watch(g.folder, g.index, print, announce=x)),
    ("evaluate_bundle captions", "path", lambda g, x: evaluate_bundle(x, g.bundle)),
    ("evaluate_bundle bundle", "bundle", lambda g, x: evaluate_bundle(g.folder, x)),
    ("evaluate_bundle images", "path", lambda g, x: evaluate_bundle(g.folder, g.bundle, images=x)),
    ("evaluate_bundle splits", "path", lambda g, x: evaluate_bundle(g.folder, g.bundle, splits=x)),
    ("evaluate_bundle split", "text", lambda g, x: evaluate_bundle(g.folder, g.bundle, split=x)),
    ("evaluate_bundle seed", "whole", lambda g, x: evaluate_bundle(g.folder, g.bundle, seed=x)),
    ("evaluate_bundle progress", "call", lambda g, x: evaluate_bundle(g.folder, g.bundle, progress=x)),
    ("evaluate_index captions", "path", lambda g, x: evaluate_index(x, g.index)),
    ("evaluate_index index", "index", lambda g, x: evaluate_index(g.folder, x)),
    ("evaluate_index images", "path", lambda g, x: evaluate_index(g.folder, g.index, images=x)),
    ("evaluate_index splits", "path", lambda g, x: evaluate_index(g.folder, g.index, splits=x)),
    ("evaluate_index split", "text", lambda g, x: evaluate_index(g.folder, g.index, split=x)),
    ("evaluate_index seed", "whole", lambda g, x: evaluate_index(g.folder, g.index, seed=x)),
    ("evaluate_labelled labelled", "path", lambda g, x: evaluate_labelled(x, g.bundle)),
    ("evaluate_labelled source", "index", lambda g, x: evaluate_labelled(g.folder, x)),
    ("evaluate_labelled images", "path", lambda g, x: evaluate_labelled(g.folder, g.bundle, images=x)),
    ("evaluate_labelled progress", "call", lambda g, x: evaluate_labelled(g.folder, g.bundle, progress=x)),
    ("check_published path", "path", lambda _, x: check_published(x)),
    ("Originals mode", "choice", lambda _, x: Originals(x)),
    ("Originals base_url", "text", lambda _, x: Originals("link", base_url=x)),
    ("Originals folder", "path", lambda _, x: Originals("link", folder=x)),
    ("Publication index", "index", lambda g, x: Publication(x, g.folder.parent / "page")),
    ("Publication out", "path", lambda g, x: Publication(g.index, x)),
    ("Publication title", "text", lambda g, x: Publication(g.index, g.folder.parent / "page", title=x)),
    ("Publication side", "whole", lambda g, x: Publication(g.index, g.folder.parent / "page", side=x)),
    ("Publication originals", "call", lambda g, x: Publication(g.index, g.folder.parent / "p", originals=x)),
    (
        "Publication hide_names",
        "flag",
        lambda g, x: Publication(g.index, g.folder.parent / "p", hide_names=x),
    ),
    (
        "Publication single_file",
        "flag",
        lambda g, x: Publication(g.index, g.folder.parent / "p", single_file=x),
    ),
    ("Publication.write workers", "whole", lambda g, x: _publication(g).write(workers=x)),
    ("Publication.write progress", "call", lambda g, x: _publication(g).write(progress=x)),
]


def _picture() -> Image.Image:
    return Image.new("RGB", (4, 4), "red")


def _pixels() -> np.ndarray:
    return np.zeros((1, 16, 16, 3), np.uint8)


def _publication(given: Given) -> Publication:
    return Publication(given.index, given.folder.parent / "page")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    folder = tmp_path_factory.mktemp("wrong")
    bundle = load_bundle(make_tiny_bundle(folder / "bundle"))
    save_colours(folder / "pictures", ["red", "blue", "green"])
    index = Index.open(folder / "photos.itl", bundle)
    embed_directory(folder / "pictures", index)
    before = sorted(path for path in folder.rglob("*"))
    yield Given(folder / "pictures", bundle, index)
    assert sorted(path for path in folder.rglob("*")) == before  # nothing was made, nothing is gone
    assert len(Index.open(folder / "photos.itl", bundle)) == 3


@pytest.mark.parametrize(("kind", "call"), [call[1:] for call in CALLS], ids=[call[0] for call in CALLS])
def test_a_wrong_type_is_refused_in_a_line(kind: str, call: Call, given: Given) -> None:
    for wrong in WRONG[kind]:
        try:
            call(given, wrong)
        except (TypeError, ValueError, ItlError) as error:
            raised = error
        else:
            pytest.fail(f"{wrong!r} was taken")
        said = str(raised)
        assert said, wrong
        assert "\n" not in said, said
        assert len(said) < 400, said
        assert _was_raised_by_us(raised), f"{wrong!r}: an accident: {type(raised).__name__}: {said}"


def _was_raised_by_us(error: BaseException) -> bool:
    """Whether a statement `raise` of this package raised it: not Python, and no library."""
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    is_raise = code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return is_raise and str(Path(itl_infer.__file__).parent) in code.co_filename


def test_every_public_function_is_tried() -> None:
    """What takes arguments and is public, but for what classes take that only the package makes."""
    tried = {call[0].split()[0] for call in CALLS}
    names = [name for name in itl_infer.__all__ if name not in _MADE_BY_THE_PACKAGE]
    for name in names:
        value = getattr(itl_infer, name)
        if inspect.isclass(value) and not issubclass(value, Exception):
            for method, function in vars(value).items():
                plain = getattr(function, "__func__", function)
                if not method.startswith("_") and inspect.isfunction(plain):
                    is_tried = f"{name}.{method}" in tried or method in tried
                    assert is_tried or len(inspect.signature(plain).parameters) == 1, f"{name}.{method}"
        elif inspect.isfunction(value):
            assert name in tried


def test_numbers_of_numpy_and_paths_of_pathlib_are_taken(given: Given) -> None:
    assert len(given.index.search("red", np.int64(2))) == 2
    assert len(given.index.search(ROWS[0].astype(np.float64), 2)) == 2
    assert len(given.index.search(ROWS[0].tolist(), np.int32(1))) == 1
    assert given.bundle.embed_pixels(_pixels(), batch_size=np.int64(1)).shape == (1, 128)
    assert given.bundle.embed_images(iter([_picture(), given.folder / "red.png"])).shape == (2, 128)
    assert Where(gps=np.True_, taken=np.int64(2019)).period()[0] is not None
    assert Searcher(given.index, min_score=np.float32(0.1)).answer("red").results
    assert Query("red", add=iter(["blue"])).embed(given.bundle).vector.shape == (128,)


def test_an_embedding_of_another_bundle_is_refused(given: Given) -> None:
    for wrong in (np.ones(64, np.float32), np.full(128, np.nan, np.float32)):
        with pytest.raises(ValueError, match="128 finite ones"):
            Query(like=[wrong]).embed(given.bundle)


def test_a_file_that_is_closed(given: Given) -> None:
    closed = (given.folder / "red.png").open("rb")
    closed.close()
    with pytest.raises(itl_infer.ImageError, match="cannot be read from its start"):
        given.bundle.embed_images([closed])
