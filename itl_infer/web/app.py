"""The routes of the page and of its API, over one store that another process may be writing to."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MultiDict
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from itl_infer.errors import ImageError, ItlError, QueryError, TeachError
from itl_infer.index import Index
from itl_infer.search import NEAR_DUPLICATE, Answer, Searcher
from itl_infer.search.query import Query
from itl_infer.web.below import BelowPath
from itl_infer.web.guard import Guard, HostRule
from itl_infer.web.openapi import DATES, LIMITS, SEVERAL, SORTS, describe_api
from itl_infer.web.page import STATIC, make_html
from itl_infer.web.pictures import path_of, picture_id, picture_response
from itl_infer.where import ORIENTATIONS, Where

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from starlette.requests import Request

    from itl_infer.image import ImageSource
    from itl_infer.store import Store

    Floats = npt.NDArray[np.float32]
T = TypeVar("T")

_LOOK_SECONDS = 0.5  # between looks at whether the index has changed


def make_app(store: Store, rule: HostRule, root_path: str = "") -> Starlette:
    """The page over a store that was opened with its bundle, as an ASGI application.

    `root_path`, such as "/photos", is where a proxy shows it, whether the proxy takes that off requests or not.
    """
    page = make_html(
        title="itl-infer", script="serve.js", folder=f"{root_path}/static/" if root_path else "static/"
    )
    middleware = [Middleware(Guard, rule=rule)]
    if root_path:
        middleware.append(Middleware(BelowPath, root_path=root_path))
    return Starlette(
        routes=[
            Route("/", lambda _: HTMLResponse(page)),
            *_Api(store, root_path).routes(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=middleware,
        exception_handlers={HTTPException: _refuse, ItlError: _refuse},
    )


async def _refuse(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _json({"error": error.detail}, error.status_code, error.headers)
    return _json(
        {"error": str(error)}, 400 if isinstance(error, (QueryError, ImageError, TeachError)) else 500
    )


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """As the commands write it: bytes of a name that are not UTF-8 become \\udc80 to \\udcff."""
    content = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")
    return Response(content, status, headers, "application/json")


class _Api:
    """Answers requests from the store as it is now."""

    def __init__(self, store: Store, root_path: str) -> None:
        self._store, self._root_path = store, root_path
        self._bundle = store.require_bundle()
        self._lock = threading.Lock()
        # A query keeps every core busy by itself; several at once would only wait for each other, spinning.
        self._one_search = threading.Lock()
        self._look_at = 0.0

    def routes(self) -> list[Route]:
        return [
            Route("/api/query", self._query),
            Route("/api/similar", self._similar, methods=["POST"]),
            Route("/api/batch", self._batch, methods=["POST"]),
            Route("/api/complete", self._complete),
            Route("/api/names", self._names),
            Route("/api/names", self._teach, methods=["POST"]),
            Route("/api/status", self._status),
            Route("/api/openapi.json", lambda _: _json(describe_api(self._root_path))),
            Route("/pictures/{name}", self._picture),
            Route("/thumbnails/{name}", self._thumbnail),
        ]

    def _query(self, request: Request) -> Response:
        parameters = _Parameters(request.query_params)
        images = []
        if like := parameters.text("like"):
            images.append(self._path_of(like))
        return self._respond(self._marked(parameters.query(images), parameters), parameters)

    async def _similar(self, request: Request) -> Response:
        parameters = _Parameters(request.query_params)
        picture = io.BytesIO(await _body(request, LIMITS["picture_bytes"]))
        query = self._marked(parameters.query([picture]), parameters)
        return await run_in_threadpool(self._respond, query, parameters)

    async def _batch(self, request: Request) -> Response:
        body = await _body(request, LIMITS["batch_bytes"])
        asked = _parse(body)
        queries = asked.pop("queries", None) if isinstance(asked, dict) else None
        if not isinstance(queries, list) or not all(isinstance(text, str) for text in queries):
            raise HTTPException(400, 'expected {"queries": ["...", ...]}')
        if len(queries) > LIMITS["queries"] or any(len(text) > LIMITS["text"] for text in queries):
            raise HTTPException(
                400, f"more than {LIMITS['queries']} queries, or one longer than {LIMITS['text']} characters"
            )
        parameters = _Parameters(MultiDict(list(_as_pairs(asked))))
        return await run_in_threadpool(self._answer_batch, queries, parameters)

    def _answer_batch(self, queries: list[str], parameters: _Parameters) -> Response:
        asked = [
            Query(text, understand_not=parameters.understands_not, as_word=parameters.reads_as_word)
            for text in queries
        ]
        answers: Sequence[Answer | ItlError]
        try:
            searcher = parameters.searcher(self._current())
            with self._one_search:
                answers = searcher.answer_many(asked)
        except QueryError as error:  # of a filter, and so of each
            answers = [error] * len(asked)
        return _json(
            {
                "answers": [
                    _with_ids(answer) if isinstance(answer, Answer) else {"query": text, "error": str(answer)}
                    for text, answer in zip(queries, answers, strict=True)
                ]
            }
        )

    def _respond(self, query: Query, parameters: _Parameters) -> Response:
        searcher = parameters.searcher(self._current())
        with self._one_search:
            answer = searcher.answer(query)
        return _json(_with_ids(answer))

    def _complete(self, request: Request) -> Response:
        prefix = _Parameters(request.query_params).text("prefix") or ""
        return _json({"words": self._bundle.complete_word(prefix) if prefix else []})

    def _names(self, _: Request) -> Response:
        return _json({"names": [*self._current().snapshot.names]})

    async def _teach(self, request: Request) -> Response:
        asked = _parse(await _body(request, LIMITS["batch_bytes"]))
        parts = asked if isinstance(asked, dict) else {}
        name, wanted, unwanted = (parts.get(part, []) for part in ("name", "wanted", "unwanted"))
        ids = [wanted, unwanted]
        if not isinstance(name, str) or not all(isinstance(some, list) for some in ids):
            raise HTTPException(400, 'expected {"name": "...", "wanted": ["ID", ...], "unwanted": [...]}')
        if (
            not all(isinstance(one, str) for some in ids for one in some)
            or len(wanted + unwanted) > LIMITS["marks"]
        ):
            raise HTTPException(
                400, f"wanted and unwanted: expected ids of pictures, at most {LIMITS['marks']}"
            )
        return await run_in_threadpool(self._keep_name, name, wanted, unwanted)

    def _keep_name(self, name: str, wanted: list[str], unwanted: list[str]) -> Response:
        """Teach a name in the index that is searched, which is only read otherwise."""
        shown, not_shown = ([self._path_of(one) for one in ids] for ids in (wanted, unwanted))
        if not isinstance(self._store, Index):
            raise HTTPException(400, "a collection of Milvus keeps no names: teach them in an index")
        report = Index.open(self._store.path, self._bundle).teach(name, shown, not_shown)
        with self._lock:
            self._look_at = 0.0  # the next request knows it
        return _json(report.to_json())

    def _marked(self, query: Query, parameters: _Parameters) -> Query:
        """A query with the pictures that are marked as wanted, or not."""
        wanted, unwanted = (self._rows_of(parameters.ids(name)) for name in ("wanted", "unwanted"))
        return replace(query, like=wanted, unlike=unwanted)

    def _rows_of(self, ids: list[str]) -> list[Floats]:
        """The embeddings of pictures by their ids. HTTPException 404 for one that is not there."""
        for one in ids:
            self._path_of(one)
        view = self._store.snapshot
        return [*view.embeddings_of([int(one.partition("-")[0]) for one in ids])]

    def _status(self, _: Request) -> Response:
        pictures = len(self._current())
        status = {"pictures": pictures, "bundle": self._bundle.name, "domain": self._bundle.domain}
        return _json(status if pictures else {**status, "next": _how_to_fill(self._store)})

    def _picture(self, request: Request) -> Response:
        return self._respond_picture(request, "full")

    def _thumbnail(self, request: Request) -> Response:
        return self._respond_picture(request, "thumbnail")

    def _respond_picture(self, request: Request, size: str) -> Response:
        path = self._path_of(request.path_params["name"])
        return picture_response(path, size, request.headers.get("if-none-match"))

    def _path_of(self, name: str) -> str:
        path = path_of(self._current(), name)
        if path is None:
            raise HTTPException(404, "no such picture in the index, or it has changed: search again")
        return path

    def _current(self) -> Store:
        """The store, with what other processes have committed to it up to half a second ago."""
        with self._lock:
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + _LOOK_SECONDS
                self._store.follow()
        return self._store


class _Parameters:
    """The parameters of a request, each checked. Raises HTTPException 400 for what is wrong with one."""

    def __init__(self, given: Any) -> None:
        self._given = given

    def text(self, name: str) -> str | None:
        return next(iter(self.texts(name)), None)

    def texts(self, name: str) -> list[str]:
        texts = self._given.getlist(name)
        if any(len(text) > LIMITS["text"] for text in texts) or len(texts) > LIMITS["terms"]:
            raise HTTPException(400, f"{name}: too long, or too many of them")
        return list(texts)

    def query(self, images: Sequence[ImageSource]) -> Query:
        weight = self._score("image_weight")
        return Query(
            self.text("q"),
            images,
            self.texts("add"),
            self.texts("subtract"),
            [self._weighted(text) for text in self.texts("weighted")],
            1.0 if weight is None else weight,
            understand_not=self.understands_not,
            as_word=self.reads_as_word,
        )

    def ids(self, name: str) -> list[str]:
        """Ids of pictures, as many as may be marked."""
        ids = self._given.getlist(name)
        if len(ids) > LIMITS["marks"]:
            raise HTTPException(400, f"{name}: more than {LIMITS['marks']} pictures")
        return list(ids)

    @property
    def reads_as_word(self) -> bool:
        return self._switch("as_word")

    @property
    def understands_not(self) -> bool:
        return self._switch("understand_not")

    def searcher(self, store: Store) -> Searcher:
        return Searcher(
            store,
            self._number("k", LIMITS["k_default"], 1, LIMITS["k"]),
            offset=self._number("offset", 0, 0, LIMITS["offset"]),
            explain=self._switch("explain"),
            min_score=self._score("min_score"),
            relevant=self._switch("relevant"),
            dedupe=NEAR_DUPLICATE if self._switch("dedupe") else None,
            where=self.where(),
            sort=self._one_of("sort", SORTS) or "score",
        )

    def where(self) -> Where:
        """The filter; empty texts are not asked for, as forms send them so. Raises QueryError for a wrong one."""
        under, name, camera = ([text for text in self.texts(field) if text] for field in SEVERAL)
        try:
            return Where(
                under=under,
                name=name,
                camera=camera,
                **{field: self.text(field) or None for field in DATES},
                orientation=self._one_of("orientation", ORIENTATIONS),
                gps=self._switch("gps") if "gps" in self._given else None,
            )
        except ValueError as error:
            raise QueryError(str(error)) from error

    def _one_of(self, name: str, values: Sequence[T]) -> T | None:
        text = self._given.get(name)
        if text is None:
            return None
        if text not in values:
            raise HTTPException(
                400, f"{name} is {text[:40]!r}, expected one of {', '.join(map(str, values))}"
            )
        return values[values.index(text)]

    def _number(self, name: str, default: int, lowest: int, highest: int) -> int:
        text = self._given.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest):
            raise HTTPException(
                400, f"{name} is {text[:40]!r}, expected a whole number from {lowest} to {highest}"
            )
        return int(text)

    def _score(self, name: str) -> float | None:
        text = self._given.get(name)
        return None if text is None else _finite(name, text, "a number")

    def _weighted(self, value: str) -> tuple[float, str]:
        """ "0.5 night": a weight and the text that has it, as after --weighted."""
        weight, _, text = value.strip().partition(" ")
        expected = 'a number and a text, as "0.5 night"'
        if not text:
            raise HTTPException(400, f"weighted is {value[:40]!r}, expected {expected}")
        return _finite("weighted", weight, expected), text

    def _switch(self, name: str) -> bool:
        text = self._given.get(name, "false")
        if text not in ("true", "false"):
            raise HTTPException(400, f"{name} is {text[:40]!r}, expected true or false")
        return bool(text == "true")


def _finite(name: str, text: str, expected: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)):
            return float(text)
    raise HTTPException(400, f"{name} is {text[:40]!r}, expected {expected}")


def _as_pairs(asked: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The members of a JSON body as they would stand in a URL."""
    for name, value in asked.items():
        if name in DATES and not isinstance(value, str):
            raise HTTPException(400, f"{name}: expected a text")
        if name not in SEVERAL:
            yield name, _as_text(value)
        elif isinstance(value, list) and all(isinstance(text, str) for text in value):
            yield from ((name, text) for text in value)
        else:
            raise HTTPException(400, f'{name}: expected ["...", ...]')


def _how_to_fill(store: Store) -> str:
    """The command that adds pictures to a store that has none."""
    if isinstance(store, Index):
        path = os.fspath(store.path)
        return "itl-infer embed-images PICTURES -d " + (f'"{path}"' if " " in path else path)
    return "itl-infer push"


def _parse(body: bytes) -> Any:
    """What a JSON body says. HTTPException 400 where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"not JSON: {error}") from error


def _as_text(value: Any) -> str:
    """A value of a JSON body as it would stand in a URL."""
    if isinstance(value, float) and value.is_integer():  # 68.0 is an integer to JSON Schema
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def _with_ids(answer: Answer) -> dict[str, Any]:
    """The JSON of the command, with what each picture is called in URLs."""
    content = answer.to_json()
    for row, found in zip(content["results"], answer.results, strict=True):
        row["id"] = picture_id(found.row, found.path)
    return content


async def _body(request: Request, limit: int) -> bytes:
    """The body of a request. HTTPException 413 as soon as it is longer than `limit` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, f"more than {limit} bytes")
    return bytes(body)
