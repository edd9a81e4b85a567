"""The routes of the page and of its API, over one store that another process may be writing to."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from anyio import CapacityLimiter, sleep
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from itl_infer.cpus import usable_cpus
from itl_infer.errors import ImageError, ItlError, QueryError, TeachError
from itl_infer.index import Index
from itl_infer.search import Answer
from itl_infer.search.query import EmbeddedQuery, Query
from itl_infer.web.below import BelowPath
from itl_infer.web.clocks import Bodies, SlowReaders
from itl_infer.web.guard import Guard, HostRule
from itl_infer.web.openapi import LIMITS, describe_api
from itl_infer.web.page import STATIC, make_html
from itl_infer.web.parameters import Parameters, parse_batch, parse_json
from itl_infer.web.pictures import path_of, picture_id, picture_response
from itl_infer.web.room import Room, to_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from starlette.requests import Request

    from itl_infer.search import Searcher
    from itl_infer.store import Store
    from itl_infer.teaching import Names

    Floats = npt.NDArray[np.float32]

_BATCHED = 16  # queries of a batch that are embedded and ranked in one step
_TURN_SECONDS = 0.003  # about as long as a query takes: then others have their turn
_MANY_WORDS = 30  # of some texts, which take long to be read
T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]  # of work that others may come between, and what comes of it

_LOOK_SECONDS = 0.5  # between looks at whether the index has changed


def make_app(store: Store, rule: HostRule, root_path: str = "", names: Names | None = None) -> Starlette:
    """The page over a store that was opened with its bundle, as an ASGI application.

    `root_path`, such as "/photos", is where a proxy shows it, whether the proxy takes that off requests or not. `names`
    may stand in queries: by default those that were taught to the store, as it is then.
    """
    page = make_html(
        title="itl-infer", script="serve.js", folder=f"{root_path}/static/" if root_path else "static/"
    )
    middleware = [Middleware(Guard, rule=rule), Middleware(SlowReaders)]
    if root_path:
        middleware.append(Middleware(BelowPath, root_path=root_path))
    return Starlette(
        routes=[
            Route("/", lambda _: HTMLResponse(page)),
            *_Api(store, root_path, names).routes(),
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
    return _json_of(to_json(value), status, headers)


def _json_of(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(content, status, headers, "application/json")


class _Api:
    """Answers requests from the store as it is now."""

    def __init__(self, store: Store, root_path: str, names: Names | None) -> None:
        self._store, self._root_path, self._given_names = store, root_path, names
        self._bundle = store.require_bundle()
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._bodies = Bodies()
        # A query keeps every core busy by itself; several at once would only wait for each other, spinning. They are
        # let in by turns, and keep no thread waiting.
        self._searches = CapacityLimiter(1)
        # Many words are read beside the others, as reading them has no steps. Whatever else takes long has some, after
        # each of which others get their turn.
        self._long_readings = CapacityLimiter(1)
        self._decodings = CapacityLimiter(max(2, usable_cpus()))

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

    async def _query(self, request: Request) -> Response:
        parameters = Parameters(request.query_params)
        like = parameters.text("like")
        images = [await run_in_threadpool(self._path_of, like)] if like else []
        return await self._respond(parameters.query(images), parameters)

    async def _similar(self, request: Request) -> Response:
        parameters = Parameters(request.query_params)
        async with self._bodies.read(request.receive, LIMITS["picture_bytes"]) as picture:
            return await self._respond(parameters.query([io.BytesIO(picture)]), parameters)

    async def _batch(self, request: Request) -> Response:
        async with self._bodies.read(request.receive, LIMITS["batch_bytes"]) as body:
            queries, parameters = await run_in_threadpool(parse_batch, body)
            room = Room(parameters.k)
            room.take_queries(len(queries))
            parameters.require_proper(self._store)
            parts: list[bytes] = []
            for start in range(0, len(queries), _BATCHED):
                some = queries[start : start + _BATCHED]
                parts += await self._by_turns(self._answer_some(some, parameters, room), some)
        return _json_of(b'{"answers": [' + b", ".join(parts) + b"]}")

    def _answer_some(self, queries: list[str], parameters: Parameters, room: Room) -> Steps[list[bytes]]:
        asked = [
            Query(text, understand_not=parameters.understands_not, as_word=parameters.reads_as_word)
            for text in queries
        ]
        answers: Sequence[Answer | ItlError]
        try:
            searcher = self._searcher(parameters)
            embedded = searcher.embed_many(asked)
            yield
            known = [one for one in embedded if isinstance(one, EmbeddedQuery)]
            if searcher.explain:
                for query in known:
                    room.take_explanation(query.term_count)
            found = iter((yield from searcher.answer_in_steps(known)))
            answers = [next(found) if isinstance(one, EmbeddedQuery) else one for one in embedded]
        except QueryError as error:  # of a filter, and so of each
            answers = [error] * len(asked)
        parts = []
        for text, answer in zip(queries, answers, strict=True):
            if isinstance(answer, Answer):
                parts.append((yield from _to_json(parameters.shown(answer), room)))
            else:
                parts.append(room.take_error({"query": text, "error": str(answer)}))
        return parts

    async def _respond(self, query: Query, parameters: Parameters) -> Response:
        asked: Query | EmbeddedQuery = query
        if query.images:  # pictures are decoded while others search
            asked = await run_sync(self._embed, query, parameters, limiter=self._decodings)
        texts = [text for _, text in query.texts]
        return _json_of(await self._by_turns(self._answer(asked, parameters), texts))

    async def _by_turns(self, steps: Steps[T], texts: Sequence[str]) -> T:
        """What comes of some steps, of which the first reads texts, between those of other requests."""
        is_long = sum(len(text.split()) for text in texts) > _MANY_WORDS
        if is_long:
            async with self._long_readings:
                start = time.monotonic()
                try:
                    done = await run_sync(_go_on, steps, 0.0)
                finally:  # a reading takes turns with others, too: as long as it took is theirs alone
                    await sleep(time.monotonic() - start)
            if done:
                return done[0]
        while not (done := await run_sync(_go_on, steps, _TURN_SECONDS, limiter=self._searches)):
            pass
        return done[0]

    def _embed(self, query: Query | EmbeddedQuery, parameters: Parameters) -> EmbeddedQuery:
        if isinstance(query, Query):
            query = self._marked(query, parameters)
        [embedded] = self._searcher(parameters).embed_many([query])
        if not isinstance(embedded, EmbeddedQuery):
            raise embedded
        return embedded

    def _answer(self, query: Query | EmbeddedQuery, parameters: Parameters) -> Steps[bytes]:
        searcher, room = self._searcher(parameters), Room(parameters.k)
        embedded = self._embed(query, parameters)
        yield
        if searcher.explain:
            room.take_explanation(embedded.term_count)
        [answer] = yield from searcher.answer_in_steps([embedded])
        if not isinstance(answer, Answer):
            raise answer
        return (yield from _to_json(parameters.shown(answer), room))

    def _searcher(self, parameters: Parameters) -> Searcher:
        return replace(parameters.searcher(self._current()), names=self._given_names)

    def _complete(self, request: Request) -> Response:
        prefix = Parameters(request.query_params).text("prefix") or ""
        return _json({"words": self._bundle.complete_word(prefix) if prefix else []})

    def _names(self, _: Request) -> Response:
        given = self._given_names
        return _json({"names": [*(self._current().snapshot.names if given is None else given)]})

    async def _teach(self, request: Request) -> Response:
        async with self._bodies.read(request.receive, LIMITS["batch_bytes"]) as body:
            asked = parse_json(body)
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
        if self._given_names is not None:
            raise HTTPException(400, "names are read from elsewhere (--names): teach them there")
        if not isinstance(self._store, Index):
            raise HTTPException(400, "a collection of Milvus keeps no names: teach them in an index")
        report = Index.open(self._store.path, self._bundle).teach(name, shown, not_shown)
        with self._lock:
            self._look_at = 0.0  # the next request knows it
        return _json(report.to_json())

    def _marked(self, query: Query, parameters: Parameters) -> Query:
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

    async def _picture(self, request: Request) -> Response:
        return await self._respond_picture(request, "full")

    async def _thumbnail(self, request: Request) -> Response:
        return await self._respond_picture(request, "thumbnail")

    async def _respond_picture(self, request: Request, size: str) -> Response:
        path = await run_in_threadpool(self._path_of, request.path_params["name"])
        tag = request.headers.get("if-none-match")
        return await run_sync(picture_response, path, size, tag, limiter=self._decodings)

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


def _how_to_fill(store: Store) -> str:
    """The command that adds pictures to a store that has none."""
    if isinstance(store, Index):
        path = os.fspath(store.path)
        return "itl-infer embed-images PICTURES -d " + (f'"{path}"' if " " in path else path)
    return "itl-infer push"


def _to_json(answer: Answer, room: Room) -> Steps[bytes]:
    """The JSON of the command, with what each picture is called in URLs."""
    results = ({**found.to_json(), "id": picture_id(found.row, found.path)} for found in answer.results)
    return (yield from room.take_answer(replace(answer, results=()).to_json(), results))


def _go_on(steps: Steps[T], seconds: float) -> tuple[T] | None:
    """Some steps of a work: what comes of it, once it is done."""
    end = time.perf_counter() + seconds
    try:
        next(steps)
        while time.perf_counter() < end:
            next(steps)
    except StopIteration as done:
        return (done.value,)
    return None
